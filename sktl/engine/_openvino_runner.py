"""The OpenVINO runner: the network up to the cut, converted, compiled, and kept.

Measured against torch with folded norms, in the same two streams: 1.1 to 2 times as
fast at float32, with the same numbers to 1e-6; 1.2 to 3 times as fast at bfloat16. One
compiled network serves all batch sizes: with a free batch dimension it is as fast as
with a fixed one, and a row is the same to the bit whatever else is in its batch.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
import openvino
import torch
from torch import Tensor

from sktl.engine._compiled_networks import (
    compiled_file,
    failure_file,
    read_checked,
    write_checked,
)
from sktl.engine._device import one_thread
from sktl.engine._frozen_part import FrozenPart
from sktl.engine._torch_runner import CutNetwork, NetworkCache, stack

_TYPES = {"float32": "f32", "bfloat16": "bf16"}
# Largest difference from torch, relative to the largest value, that is rounding.
_TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1}
# What tracing and converting raise on networks that they cannot follow.
_CONVERSION_ERRORS = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    AssertionError,
)

# Here, in one thread: two threads that hand over the first arrays of a process at the
# same time can deadlock in OpenVINO's binding to numpy (2026.4, py-spy).
openvino.Tensor(np.zeros(1, dtype=np.float32))

_compiled: NetworkCache[openvino.CompiledModel | None] = NetworkCache()


class ConversionError(RuntimeError):
    """OpenVINO cannot run this network."""


class OpenVinoRunner:
    """Runs batches of prepared images through a compiled network."""

    def __init__(self, part: FrozenPart, network: openvino.CompiledModel):
        self.recipe = part.recipe
        self.network = network
        self._requests: list[openvino.InferRequest] = []

    def __call__(self, tensors: Sequence[Tensor]) -> np.ndarray:
        """Return the float32 rows of a batch."""
        with torch.inference_mode():
            batch = self.recipe.normalise(stack(tensors)).contiguous().numpy()
        try:
            request = self._requests.pop()
        except IndexError:
            request = self.network.create_infer_request()
        found = request.infer([batch], share_inputs=True)  # spares a copy
        values = found[0].astype(np.float32)  # a copy of the request's buffer
        self._requests.append(request)
        return values


def openvino_runner(
    part: FrozenPart, n_threads: int, *, convert: bool
) -> OpenVinoRunner | None:
    """Return a runner for ``part``; None if it is not converted and may not be.

    Raises
    ------
    ConversionError
        OpenVINO cannot run this network.
    """
    settings = {
        # By default, OpenVINO uses bfloat16 if the processor has it.
        "INFERENCE_PRECISION_HINT": _TYPES[part.precision],
        "INFERENCE_NUM_THREADS": str(n_threads),
        "NUM_STREAMS": str(n_threads),
        # Two processes of a search would be pinned to the same cores.
        "ENABLE_CPU_PINNING": "NO",
    }

    def load() -> openvino.CompiledModel | None:
        if (blob := read_checked(compiled_file(part))) is not None:
            try:
                return openvino.Core().import_model(io.BytesIO(blob), "CPU", settings)
            except RuntimeError:
                pass  # another build of OpenVINO wrote it
        return _convert(part, settings) if convert else None

    network = _compiled.get((part.key, n_threads), load)
    return None if network is None else OpenVinoRunner(part, network)


def _convert(part: FrozenPart, settings: dict[str, str]) -> openvino.CompiledModel:
    """Convert and compile the network, check it against torch, and keep it."""
    shape = (part.recipe.channels, *part.recipe.size)
    cut = CutNetwork(part)
    probe = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    try:
        with one_thread(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = cut(probe).numpy()
            inputs = [openvino.PartialShape([-1, *shape])]
            model = openvino.convert_model(cut, example_input=probe[:2], input=inputs)
        network = openvino.Core().compile_model(model, "CPU", settings)
        values = network.create_infer_request().infer([probe.numpy()])[0]
        scale = max(np.abs(expected).max(), 1e-12)
        difference = np.abs(values - expected).max() / scale
        if not difference <= _TOLERANCES[part.precision]:
            raise ConversionError(
                f"its numbers differ from torch's by {difference:.1e}"
            )
    except _CONVERSION_ERRORS as error:
        reason = f"{type(error).__name__}: {str(error).strip()[-300:]}"
        write_checked(failure_file(part), reason.encode())
        raise ConversionError(reason) from error
    blob = network.export_model()
    write_checked(
        compiled_file(part), blob if isinstance(blob, bytes) else blob.getvalue()
    )
    return network
