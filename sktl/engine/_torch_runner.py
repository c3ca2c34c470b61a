"""The torch runner: a prepared copy of the network up to the cut, and its batches."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from cachetools import LRUCache
from torch import Tensor, nn

from sktl.engine._folding import folded
from sktl.engine._frozen_part import FrozenPart
from sktl.exceptions import CompilationError

Network = TypeVar("Network")

_NETWORKS_KEPT = 4
LEAST_SHORT_BATCH = 4


class NetworkCache(Generic[Network]):
    """The networks used last, each made once and shared by all threads."""

    def __init__(self) -> None:
        self.networks: LRUCache = LRUCache(_NETWORKS_KEPT)
        self._renew_lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """Replace the lock by one that no thread of a parent process holds."""
        self._lock = threading.RLock()

    def get(self, key: Hashable, make: Callable[[], Network]) -> Network:
        """Return the network under ``key``; make it if there is none."""
        with self._lock:
            network = self.networks.get(key)
            if network is None:
                network = make()
                if network is not None:
                    self.networks[key] = network
        return network


_prepared: NetworkCache[nn.Module] = NetworkCache()


class CutNetwork(nn.Module):
    """The stages up to the deepest layer wanted; their outputs become rows.

    It shares the modules of the network that ``BackboneRef.load`` returns.
    """

    def __init__(self, part: FrozenPart):
        super().__init__()
        network = part.backbone.load()
        order = list(network.stages)
        depth = max(map(order.index, part.layers)) + 1
        stages = nn.ModuleDict({name: network.stages[name] for name in order[:depth]})
        # A shallow copy of the network, without the stages behind the cut.
        self.network = copy.copy(network)
        self.network._modules = {**network._modules, "stages": stages}
        self.layers = tuple(part.layers)
        self.pool = part.pool
        self.last = order[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Return one row for each image of a normalised batch."""
        rows = {}
        for name, stage in self.network.stages.items():
            x = stage(x)
            if name in self.layers:
                rows[name] = self._row(x, name)
        found = [rows[name] for name in self.layers]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def _row(self, x: Tensor, name: str) -> Tensor:
        """Return the activation ``x`` of stage ``name`` as rows."""
        if self.pool == "none":
            return x.float().contiguous()
        if name == self.last:
            return self.network.flat(x).float()
        x = self.network.as_map(x).float()
        if x.ndim == 2:
            return x
        if self.pool == "avg":
            return x.mean(dim=(2, 3))
        if self.pool == "max":
            return x.amax(dim=(2, 3))
        if self.pool == "avgmax":
            return torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return x.flatten(1)


def _prepare(part: FrozenPart, device: str) -> nn.Module:
    """Return a copy of the network of ``part``, ready for ``device``."""
    network = folded(CutNetwork(part), (1, part.recipe.channels, *part.recipe.size))
    network.to(device, getattr(torch, part.precision))
    network.to(memory_format=torch.channels_last)
    if part.engine == "compile":
        network.compile()
    return network


class TorchRunner:
    """Runs batches of prepared images through the network."""

    def __init__(self, part: FrozenPart, device: str):
        self.part = part
        self.device = device
        self.dtype = getattr(torch, part.precision)
        self.is_compiled = part.engine == "compile"
        weights = (part.backbone.name, part.backbone.fingerprint)
        cut = (tuple(part.layers), part.pool, part.precision)
        key = (*weights, *cut, device, self.is_compiled)
        self.network = _prepared.get(key, lambda: _prepare(part, device))
        # Below four images oneDNN uses other kernels. At float32 their rounding
        # differs by 5e-7, in 16 bits by 4e-5, so a row would depend on its batch.
        is_short = self.dtype != torch.float32
        self._least_batch = self._floor = LEAST_SHORT_BATCH if is_short else 1

    def __call__(self, tensors: Sequence[Tensor]) -> np.ndarray:
        """Return the float32 rows of a batch."""
        with torch.inference_mode(), self._exact_float32():
            batch = stack(tensors)
            if self.device.startswith("cuda"):
                batch = batch.pin_memory()
            batch = batch.to(self.device, non_blocking=True)
            batch = self.part.recipe.normalise(batch)
            batch = batch.to(self.dtype, memory_format=torch.channels_last)
            if self.is_compiled:
                # Compiled code is for one batch size: smaller batches are padded.
                self._least_batch = max(self._least_batch, len(batch))
            if len(batch) < self._least_batch:
                n = self._least_batch - len(batch)
                batch = torch.cat([batch, batch[-1:].expand(n, -1, -1, -1)])
            try:
                rows = self.network(batch)
            except RuntimeError as error:
                if not self.is_compiled:
                    raise
                if is_out_of_memory(error):
                    self._least_batch = self._floor
                    raise
                raise CompilationError(
                    f"engine='compile' cannot compile {self.part.backbone.name!r} "
                    f"({type(error).__name__}). torch.compile needs a C++ compiler, "
                    "and Triton on a GPU; engine='torch' needs neither."
                ) from error
            return rows[: len(tensors)].cpu().numpy()

    @contextlib.contextmanager
    def _exact_float32(self) -> Iterator[None]:
        """Keep float32 exact on GPUs that would shorten it to 19 bits."""
        if not self.device.startswith("cuda") or self.dtype != torch.float32:
            yield
            return
        matmul = torch.backends.cuda.matmul
        before = matmul.allow_tf32
        with torch.backends.cudnn.flags(allow_tf32=False):
            matmul.allow_tf32 = False
            try:
                yield
            finally:
                matmul.allow_tf32 = before


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether a GPU ran out of memory: MPS has no exception class for it."""
    return "out of memory" in str(error).lower()


def stack(tensors: Sequence[Tensor]) -> Tensor:
    """Return one batch; next to wider images, 8-bit ones are scaled to [0, 1]."""
    if any(t.dtype != torch.uint8 for t in tensors):
        tensors = [t.float() / 255 if t.dtype == torch.uint8 else t for t in tensors]
    return torch.stack(list(tensors))
