"""Build networks: from a seed, or empty in milliseconds when weights follow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

# Initialisers draw from torch's global generator, which belongs to the user: it is
# borrowed under this lock and given back as it was. Reentrant, since a callable of the
# user's may build a part of its network with sktl.
_GENERATOR = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from ``seed``; its global state is the same before and after."""
    with _GENERATOR, torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def build_random(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return the network with weights drawn from ``seed``."""
    with seeded(seed):
        return build()


def build_empty(build: Callable[[], nn.Module]) -> nn.Module:
    """Return the network with parameters on the meta device: shapes, no numbers.

    Initialising weights that a file replaces takes most of the time of a load
    (ResNet-18: 120 ms of 150). What a constructor computes (indices, masks) is real
    where that is possible.
    """
    # SSDlite runs an image through itself while it is built, which wants everything on
    # one device. A constructor that bears neither way is run as it is.
    for meta in (_EmptyOnMeta(), torch.device("meta")):
        try:
            with seeded(0), meta:
                return build()
        except (NotImplementedError, RuntimeError):
            continue
    return build_random(build, 0)


class _EmptyOnMeta(TorchFunctionMode):
    """Send ``torch.empty``, where layers get their parameters, to the meta device.

    ``torch.device("meta")`` would send everything there, tables of positions and the
    arithmetic of RegNet's widths among it.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def fill_counters(model: nn.Module) -> None:
    """Give BatchNorm counters that a file leaves out a number; inference reads none."""
    for module in model.modules():
        counter = getattr(module, "num_batches_tracked", None)
        if isinstance(counter, torch.Tensor) and counter.is_meta:
            module.num_batches_tracked = torch.tensor(0)


def is_complete(model: nn.Module) -> bool:
    """Tell whether every parameter and buffer has numbers."""
    tensors = [*model.parameters(), *model.buffers()]
    return not any(tensor.is_meta for tensor in tensors)


def freeze(network: nn.Module) -> nn.Module:
    """Return the network in evaluation mode, in float32, without gradients."""
    return network.eval().requires_grad_(False).float()
