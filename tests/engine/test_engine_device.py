"""What a run gets, and what cannot be had."""

import subprocess
import sys
import warnings

import pytest
import torch

from sktl import FineTunedClassifier, PretrainedFeatures
from sktl.engine import _device, _search_workers, resolve_device, resolve_engine
from sktl.exceptions import MissingExtraError

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a CPU")


def test_auto_takes_openvino_on_a_cpu_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(_device, "has_module", lambda module: True)
    assert resolve_engine("auto", "cpu", "float32") == ("openvino", "float32")
    monkeypatch.setattr(_device, "has_module", lambda module: False)
    assert resolve_engine("auto", "cpu", "float32") == ("torch", "float32")


def test_openvino_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setattr(_device, "has_module", lambda module: False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"sktl\[openvino\]"):
        resolve_engine("openvino", "cpu", "float32")


def test_openvino_on_a_gpu_is_an_error(monkeypatch):
    monkeypatch.setattr(_device, "_check_gpu", lambda kind, index: "cuda:0")
    with pytest.raises(ValueError, match="runs on the CPU"):
        resolve_engine("openvino", "cuda", "float32")
    assert resolve_engine("auto", "cuda", "float16") == ("torch", "float16")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("onnx", "cpu", "float32"), "engine='onnx'"),
        (("torch", "tpu", "float32"), "device='tpu'"),
        (("torch", "cpu", "float64"), "precision='float64'"),
        (("torch", "cpu", "float16"), "needs a GPU"),
    ],
)
def test_what_is_unknown_is_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        resolve_engine(*arguments)


@on_cpu
def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="sees 0 CUDA devices"):
        resolve_device("cuda")


def test_automatic_precision_follows_the_processor(monkeypatch):
    monkeypatch.setattr(_device, "_cpu_has_bfloat16", lambda: True)
    assert resolve_engine("torch", "cpu", "auto")[1] == "bfloat16"
    monkeypatch.setattr(_device, "_cpu_has_bfloat16", lambda: False)
    assert resolve_engine("torch", "cpu", "auto")[1] == "float32"


@pytest.mark.parametrize("kind", [PretrainedFeatures, FineTunedClassifier])
def test_slow_bfloat16_is_warned_of_once(monkeypatch, digits, kind):
    estimator = kind("lenet5", precision="bfloat16", device="cpu")
    X, y = digits
    for is_fast in (True, False):
        monkeypatch.setattr(_device, "_cpu_has_bfloat16", lambda fast=is_fast: fast)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(X[:40], y[:40])
        messages = [text for w in caught if "bfloat16" in (text := str(w.message))]
        assert len(messages) == (not is_fast)
    assert "precision='auto'" in messages[0]
    assert caught[0].filename == __file__


@on_cpu
@pytest.mark.skipif(sys.platform != "linux", reason="asks torch elsewhere")
def test_the_answer_needs_no_torch_on_a_cpu():
    code = (
        "import sys; from sktl.engine import resolve_engine;"
        "resolve_engine('auto', 'auto', 'auto'); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_workers_on_a_gpu_are_advised_to_prime_once(monkeypatch):
    monkeypatch.setattr(_search_workers, "_advised", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _search_workers.advise_to_prime("cuda:0")  # not a worker
        monkeypatch.setattr(_search_workers, "is_worker", lambda: True)
        _search_workers.advise_to_prime("cpu")
        with pytest.warns(RuntimeWarning, match=r"prime\(search, X, y\)"):
            _search_workers.advise_to_prime("cuda:0")
        _search_workers.advise_to_prime("cuda:0")  # once is enough
