"""Build networks, give them their weights, and keep those in use in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from cachetools import LRUCache
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sktl.backbones._staged import StagedNetwork
from sktl.backbones._state_dict import fit_state_dict, read_state_dict
from sktl.backbones._weights import RandomWeights, Weights, WeightsFile

_Network = TypeVar("_Network", bound=nn.Module)

# Two gigabytes hold a VGG-16, a ViT-L/16 and a dozen small networks side by side.
MAX_BYTES = 2 * 1024**3


def _n_bytes(network: nn.Module) -> int:
    # The network requested last stays, even if it fills the whole cache.
    tensors = [*network.parameters(), *network.buffers()]
    return min(MAX_BYTES, sum(t.numel() * t.element_size() for t in tensors))


def forget_networks() -> None:
    """Forget all networks, and the locks that a fork may have left locked."""
    global _networks, _lookup, _building
    _networks = LRUCache(MAX_BYTES, getsizeof=_n_bytes)
    _lookup = threading.Lock()
    # One lock for all that builds networks: initialisers draw from torch's global
    # generator, which is borrowed meanwhile. Reentrant, since a user's callable may
    # build a part of its network with sktl.
    _building = threading.RLock()


_networks: LRUCache
_lookup: threading.Lock
_building: threading.RLock
forget_networks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_networks)


def load_once(key: Hashable, load: Callable[[], StagedNetwork]) -> StagedNetwork:
    """Return the frozen network under ``key``, loaded once in this process."""
    with _lookup:
        network = _networks.get(key)
    if network is None:
        with _building:
            with _lookup:
                network = _networks.get(key)
            if network is None:
                network = freeze(load())
                with _lookup:
                    _networks[key] = network
    return network


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from ``seed``; its global state is the same before and after."""
    with _building, torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def build_random(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return the network with weights drawn from ``seed``."""
    with seeded(seed):
        return build()


def build_empty(build: Callable[[], nn.Module]) -> nn.Module:
    """Return the network with parameters on the meta device: shapes, no numbers.

    Initialising weights that a file replaces takes most of the time of a load
    (ResNet-18: 120 ms of 150). What a constructor computes (indices, masks) is real.
    """
    try:
        with seeded(0), _EmptyOnMeta():
            return build()
    except (NotImplementedError, RuntimeError):
        # SSDlite runs an image through itself while it is built.
        return build_random(build, 0)


class _EmptyOnMeta(TorchFunctionMode):
    """Send ``torch.empty``, where layers get their parameters, to the meta device.

    ``torch.device("meta")`` would send everything there, including tables of positions
    and the arithmetic of RegNet's widths.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def build_with_weights(
    weights: Weights,
    name: str,
    build: Callable[[], nn.Module],
    cut: Callable[[nn.Module], StagedNetwork],
    translate: Callable[[nn.Module, dict[str, Tensor]], Mapping[str, Tensor]],
) -> nn.Module:
    """Return the whole network called ``name`` with these weights.

    ``cut`` finds the stages, since only they need weights, and ``translate`` brings the
    keys of a file up to date.
    """
    if isinstance(weights, RandomWeights):
        return build_random(build, weights.seed)
    assert isinstance(weights, WeightsFile)
    path = weights.locate()
    state = read_state_dict(path)
    # The second way is for constructors that compute tensors which no file holds.
    for start in (build_empty, partial(build_random, seed=0)):
        model = start(build)
        fit_state_dict(model, [cut(model)], state, name, path, translate)
        if is_complete(cut(model)):
            break
    return model


def is_complete(network: nn.Module) -> bool:
    """Tell whether every parameter and buffer has numbers."""
    tensors = [*network.parameters(), *network.buffers()]
    return not any(tensor.is_meta for tensor in tensors)


def freeze(network: _Network) -> _Network:
    """Return the network in evaluation mode, in float32, without gradients."""
    return network.eval().requires_grad_(False).float()
