"""Which engine runs the rows of one call, and when to change to a faster one."""

from __future__ import annotations

import sys
import threading
import time
import warnings

import torch

from sktl.engine._compiled_files import has_compiled
from sktl.engine._part import FrozenPart
from sktl.engine._torch_engine import TorchRunner

# Converting takes 2 to 5 s on an idle machine and OpenVINO then saves a fifth or more
# of the time: worth it where torch would still be running for this long.
_WORTHWHILE_SECONDS = 20.0
_FIRST_LOOK_SECONDS = 2.0

_warned: set[str] = set()


class EngineFailedError(RuntimeError):
    """OpenVINO cannot run this network below float32: start again with torch."""


class Engine:
    """What runs batches on the CPU or a GPU; callable from several threads.

    At float32 OpenVINO and torch give the same numbers, so the engine is free to
    choose: OpenVINO if this network is compiled already, in memory or on disk; torch
    otherwise, because a small call would pay seconds of conversion for nothing. When
    a call turns out to be long, the network is converted beside the work, and the
    streams change over. Below float32 the engines round differently, the key names
    one, and it is used for every row.
    """

    def __init__(self, part: FrozenPart, device: str):
        self.part = part
        self.n_threads = torch.get_num_threads()
        self._converting: threading.Thread | None = None
        self._started = time.monotonic()
        self._runner = None
        if part.engine == "openvino" and device == "cpu":
            self._runner = self._openvino(convert=part.precision != "float32")
        self._may_change = self._runner is None and part.engine == "openvino"
        if self._runner is None:
            self._runner = TorchRunner(part, device)

    def __call__(self, tensors):
        """Return the float32 rows of a batch of prepared images."""
        return self._runner(tensors)

    @property
    def name(self) -> str:
        """What runs now."""
        return "torch" if isinstance(self._runner, TorchRunner) else "openvino"

    def _openvino(self, *, convert: bool):
        """Return the OpenVINO runner, None where torch is to run."""
        imported = "sktl.engine._openvino_engine" in sys.modules
        if not (convert or imported or has_compiled(self.part)):
            return None  # nothing compiled in memory or on disk: spare the import
        from sktl.engine._openvino_engine import ConversionError, openvino_runner

        try:
            return openvino_runner(self.part, self.n_threads, convert=convert)
        except ConversionError as error:
            name = self.part.backbone.name
            if name not in _warned:
                _warned.add(name)
                warnings.warn(
                    f"OpenVINO cannot run {name!r} ({error}). Torch runs it instead; "
                    "engine='torch' says so from the start.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            if self.part.precision != "float32":
                raise EngineFailedError from error
            return None

    def consider_change(self, done: int, left: int) -> None:
        """Convert beside the work if what is left will take long."""
        if not self._may_change or done == 0:
            return
        elapsed = time.monotonic() - self._started
        if (
            elapsed > _FIRST_LOOK_SECONDS
            and elapsed / done * left > _WORTHWHILE_SECONDS
        ):
            self._may_change = False
            self._converting = threading.Thread(
                target=self._change, name="sktl-convert", daemon=True
            )
            self._converting.start()

    def _change(self) -> None:
        runner = self._openvino(convert=True)
        if runner is not None:
            self._runner = runner

    def close(self) -> None:
        """Wait for a conversion that is under way."""
        if self._converting is not None:
            self._converting.join()
