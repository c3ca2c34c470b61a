"""OpenVINO: the same numbers, compiled once, and torch where it cannot follow."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sktl.engine import _streams, activations, images_embedded
from sktl.engine._compiled_networks import (
    compiled_file,
    failure_file,
    read_checked,
    write_checked,
)

from .fakes import FakeBackbone, FakeRows, make_part, make_rows, reference

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def nothing_compiled():
    from sktl.engine import _openvino_runner

    _openvino_runner._compiled.networks.clear()
    _streams._warned.clear()


def compiled_here():
    from sktl.engine import _openvino_runner

    return len(_openvino_runner._compiled.networks)


@pytest.mark.parametrize(
    ("layers", "pool"),
    [(("pool",), "avg"), (("stem", "stage1"), "avgmax"), (("stage1",), "none")],
)
def test_float32_equals_torch(layers, pool, monkeypatch):
    from sktl.engine._openvino_runner import openvino_runner

    rows, part = make_rows(7), make_part(layers, pool, engine="openvino")
    tensors = [rows.prepare(i, part.recipe) for i in range(7)]
    values = openvino_runner(part, 1, convert=True)(tensors)
    expected = activations(rows, make_part(layers, pool), cache=None)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_what_was_asked_for_and_near():
    rows = make_rows(20)
    part = make_part(engine="openvino", precision="bfloat16")
    values = activations(rows, part, cache=None)
    expected = reference(rows, part)
    assert compiled_here() == 1
    np.testing.assert_allclose(values, expected, atol=0.05 * np.abs(expected).max())
    alone = activations(FakeRows(rows.images[:1]), part, cache=None)
    np.testing.assert_array_equal(alone[0], values[0])


def test_a_small_call_at_float32_is_not_made_to_pay_for_a_conversion():
    part = make_part(engine="openvino")
    activations(make_rows(20), part)
    assert compiled_here() == 0
    assert not compiled_file(part).exists()


def test_a_long_call_at_float32_pays_for_a_conversion(monkeypatch):
    monkeypatch.setattr(_streams, "_WORTHWHILE_SECONDS", 0.0)
    rows, part = make_rows(60), make_part(engine="openvino")
    values = activations(rows, part, cache=None)
    assert compiled_here() == 1
    np.testing.assert_allclose(values, reference(rows, part), rtol=1e-5, atol=1e-6)
    monkeypatch.undo()
    calls = []
    monkeypatch.setattr(_streams, "TorchRunner", lambda *a: calls.append(a))
    activations(make_rows(3, seed=1), part, cache=None)
    assert not calls  # once compiled, it also runs the small ones


def test_both_engines_share_rows_at_float32_only():
    rows = make_rows(10)
    before = images_embedded()
    activations(rows, make_part())
    activations(rows, make_part(engine="openvino"))
    assert images_embedded() - before == 10
    activations(rows, make_part(precision="bfloat16"))
    activations(rows, make_part(precision="bfloat16", engine="openvino"))
    assert images_embedded() - before == 30


def test_a_second_process_takes_the_compiled_network_from_disk():
    part = make_part(engine="openvino", precision="bfloat16")
    values = activations(make_rows(10), part, cache=None)
    code = (
        "import json, openvino\n"
        "def refuse(*a, **k): raise SystemExit('converted again')\n"
        "openvino.convert_model = refuse\n"
        "from fakes import make_part, make_rows\n"
        "from sktl.engine import activations\n"
        "part = make_part(engine='openvino', precision='bfloat16')\n"
        "print(json.dumps(activations(make_rows(10), part, cache=None).tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    np.testing.assert_array_equal(np.float32(json.loads(done.stdout)), values)


def test_a_damaged_compiled_network_is_not_used(tmp_path):
    part = make_part(engine="openvino")
    write_checked(compiled_file(part), b"x" * 1000)
    assert read_checked(compiled_file(part)) == b"x" * 1000
    (path,) = (tmp_path / "cache" / "networks").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    assert read_checked(compiled_file(part)) is None


def test_a_blob_of_another_build_is_converted_again():
    part = make_part(engine="openvino", precision="bfloat16")
    write_checked(compiled_file(part), b"not a network")
    rows = make_rows(3)
    values = activations(rows, part, cache=None)
    expected = reference(rows, part)
    np.testing.assert_allclose(values, expected, atol=0.05 * np.abs(expected).max())


@dataclass(frozen=True)
class Unconvertible(FakeBackbone):
    """A network whose tracing fails, or gives other numbers."""

    name: str = "unconvertible"
    how: str = "raises"

    def load(self):
        import torch

        network, how = super().load(), self.how

        class Odd(type(network)):
            def flat(self, x):
                x = super().flat(x)
                if not torch.jit.is_tracing():
                    return x
                if how == "raises":
                    raise NotImplementedError("no tracing here")
                return x * 2

        network.__class__ = Odd
        return network


@pytest.mark.parametrize("how", ["raises", "lies"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_cannot_be_converted_runs_on_torch_with_one_warning(
    how, precision, monkeypatch
):
    monkeypatch.setattr(_streams, "_WORTHWHILE_SECONDS", 0.0)
    backbone = Unconvertible(fingerprint=f"{how} {precision}", how=how)
    part = make_part(engine="openvino", precision=precision, backbone=backbone)
    rows = make_rows(60)
    with pytest.warns(RuntimeWarning, match="cannot run 'unconvertible'") as record:
        values = activations(rows, part, batch_size=4)
    assert sum("cannot run" in str(w.message) for w in record) == 1
    torch_part = make_part(engine="torch", precision=precision, backbone=backbone)
    before = images_embedded()
    np.testing.assert_array_equal(activations(rows, torch_part), values)
    assert images_embedded() == before  # its rows are stored as torch's
    assert failure_file(part).exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        activations(make_rows(9, seed=1), part)


def test_nothing_is_written_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    part = make_part(engine="openvino", precision="bfloat16")
    activations(make_rows(3), part, cache=None)
    assert os.listdir() == []
