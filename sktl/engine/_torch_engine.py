"""The torch engine: a prepared copy of the network up to the cut, and its batches."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sktl.engine._folding import fold_batch_norms
from sktl.exceptions import CompilationError

if TYPE_CHECKING:
    from sktl.engine._part import FrozenPart

_PREPARED_NETWORKS = 4
LEAST_SHORT_BATCH = 4
_prepared: OrderedDict[tuple, nn.Module] = OrderedDict()
_prepared_lock = threading.Lock()


class Prefix(nn.Module):
    """The stages up to the deepest layer wanted, and what becomes of their outputs.

    It owns copies of the stages, so that folding and other dtypes never reach the
    network that ``BackboneRef.load`` shares.
    """

    def __init__(self, part: FrozenPart):
        super().__init__()
        network = part.backbone.load()
        order = list(network.stages)
        self.layers = tuple(part.layers)
        self.pool = part.pool
        self.last = order[-1]
        self.wanted = sorted(set(self.layers), key=order.index)
        stages = nn.ModuleDict(
            {
                name: copy.deepcopy(network.stages[name])
                for name in order[: order.index(self.wanted[-1]) + 1]
            }
        )
        stages.eval().requires_grad_(False)
        # A shallow copy of the network that runs these stages instead of its own.
        self.network = copy.copy(network)
        self.network._modules = {**network._modules, "stages": stages}

    def forward(self, x: Tensor) -> Tensor:
        """Return one row for each image of a normalised batch."""
        rows, after = {}, None
        for name in self.wanted:
            x = self.network.run(x, after=after, upto=name)
            after = name
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


def prepared_prefix(part: FrozenPart, device: str) -> nn.Module:
    """Return the network of ``part``, ready for ``device``; one copy a process."""
    is_compiled = part.engine == "compile"
    key = (
        part.backbone.name,
        part.backbone.fingerprint,
        tuple(part.layers),
        part.pool,
        part.precision,
        device,
        is_compiled,
    )
    with _prepared_lock:
        prefix = _prepared.pop(key, None)
        if prefix is None:
            prefix = Prefix(part)
            fold_batch_norms(prefix, (1, part.recipe.channels, *part.recipe.size))
            prefix.network.stages.to(
                device=device,
                dtype=getattr(torch, part.precision),
                memory_format=torch.channels_last,
            )
            if is_compiled:
                prefix.compile()
        _prepared[key] = prefix
        while len(_prepared) > _PREPARED_NETWORKS:
            _prepared.popitem(last=False)
    return prefix


class TorchRunner:
    """Runs batches of prepared images through the network."""

    def __init__(self, part: FrozenPart, device: str):
        self.device = device
        self.recipe = part.recipe
        self.dtype = getattr(torch, part.precision)
        self.prefix = prepared_prefix(part, device)
        self.is_cpu = device == "cpu"
        self.name = part.backbone.name
        self.is_compiled = part.engine == "compile"
        self._least_batch = self._floor

    @property
    def _floor(self) -> int:
        """The smallest batch in which a row does not depend on its companions."""
        return 1 if self.dtype == torch.float32 else LEAST_SHORT_BATCH

    def __call__(self, tensors: Sequence[Tensor]) -> np.ndarray:
        """Return the float32 rows of a batch."""
        with torch.inference_mode(), self._exact_float32():
            batch = stack(tensors)
            if not self.is_cpu:
                if self.device.startswith("cuda"):
                    batch = batch.pin_memory()
                batch = batch.to(self.device, non_blocking=True)
            batch = self.recipe.normalise(batch)
            batch = batch.to(self.dtype, memory_format=torch.channels_last)
            return self._run(self._padded(batch))[: len(tensors)].cpu().numpy()

    def _run(self, batch: Tensor) -> Tensor:
        """Run the network; say what is wrong if it cannot be compiled."""
        if not self.is_compiled:
            return self.prefix(batch)
        # Compiled code is for one size of batch: shorter ones are filled up.
        self._least_batch = max(self._least_batch, len(batch))
        try:
            return self.prefix(batch)
        except RuntimeError as error:
            if is_out_of_memory(error):
                self._least_batch = self._floor
                raise
            raise CompilationError(
                f"engine='compile' cannot compile {self.name!r} "
                f"({type(error).__name__}). torch.compile needs a C++ compiler, and "
                "Triton on a GPU; engine='torch' needs neither."
            ) from error

    def _padded(self, batch: Tensor) -> Tensor:
        """Return a batch of at least as many images as the kernels want.

        Below four images oneDNN takes other kernels. At float32 their rounding differs
        by 5e-7, in 16 bits by 4e-5, which would tell a row's companions.
        """
        missing = self._least_batch - len(batch)
        if missing <= 0:
            return batch
        return torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)])

    @contextlib.contextmanager
    def _exact_float32(self) -> Iterator[None]:
        """Keep float32 what it says on GPUs that would shorten it to 19 bits."""
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
    """Tell whether a GPU had no room: torch.OutOfMemoryError on CUDA, not on MPS."""
    return "out of memory" in str(error).lower()


def stack(tensors: Sequence[Tensor]) -> Tensor:
    """Return one batch; 8-bit images join wider ones as values in [0, 1]."""
    if any(t.dtype != torch.uint8 for t in tensors):
        tensors = [t.float() / 255 if t.dtype == torch.uint8 else t for t in tensors]
    return torch.stack(list(tensors))
