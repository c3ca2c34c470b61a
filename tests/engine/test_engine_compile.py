"""torch.compile: the same numbers, and a clear word where it cannot run."""

import shutil

import numpy as np
import pytest
import torch
import torch._inductor.config

from sktl.engine import activations, images_embedded
from sktl.engine._torch_runner import TorchRunner
from sktl.exceptions import CompilationError

from .fakes import make_part, make_rows

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="no C++ compiler"
)


@pytest.fixture(autouse=True)
def no_pool_of_compilers():
    # Its processes would import torch each.
    with torch._inductor.config.patch(compile_threads=1):
        yield


@needs_compiler
def test_compiled_float32_equals_torch_and_shares_its_rows():
    rows, part = make_rows(7), make_part(engine="compile")
    values = activations(rows, part, cache=None, batch_size=8)
    expected = activations(rows, make_part())
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    before = images_embedded()
    activations(rows, part)
    assert images_embedded() == before


@needs_compiler
def test_code_is_compiled_for_one_size_of_batch(monkeypatch):
    part = make_part(engine="compile")
    runner, sizes = TorchRunner(part, "cpu"), []
    compiled = runner.network
    monkeypatch.setattr(
        runner, "network", lambda x: sizes.append(len(x)) or compiled(x)
    )
    rows = make_rows(5)
    tensors = [rows.prepare(i, part.recipe) for i in range(5)]
    assert len(runner(tensors)) == 5
    assert len(runner(tensors[:2])) == 2
    assert sizes == [5, 5]


def test_what_cannot_be_compiled_says_what_is_needed(monkeypatch):
    def fail(x):
        raise torch._dynamo.exc.TorchDynamoException("no compiler")

    part = make_part(engine="compile")
    runner, rows = TorchRunner(part, "cpu"), make_rows(1)
    monkeypatch.setattr(runner, "network", fail)
    with pytest.raises(CompilationError, match=r"C\+\+ compiler.*engine='torch'"):
        runner([rows.prepare(0, part.recipe)])
