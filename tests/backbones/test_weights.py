"""Weights from files: what is understood, what is refused and in which words."""

import hashlib
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import densenet121

from sktl.backbones import resolve
from sktl.backbones._catalogue import facts
from sktl.backbones._loading import build_random
from sktl.backbones._weights import WeightsFile, download_folder
from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError


def embed(path, images, name="squeezenet1_1"):
    """Return the embeddings that the weights in a file give."""
    with torch.inference_mode():
        return resolve(name, weights=path).load()(images)


def prefixed(prefix):
    return lambda state: {prefix + key: value for key, value in state.items()}


def without_classifier(state):
    return {k: v for k, v in state.items() if not k.startswith("classifier")}


def with_other_classifier(state):
    return without_classifier(state) | {
        "classifier.1.weight": torch.zeros(7, 512, 1, 1)
    }


def with_foreign_head(state):
    return without_classifier(state) | {
        "fc.0.weight": torch.zeros(7, 512),
        "head.bias": torch.zeros(7),
    }


LAYOUTS = {
    "plain": dict,
    "DataParallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled DataParallel": prefixed("module._orig_mod."),
    "lightning": lambda state: {"state_dict": prefixed("model.")(state), "epoch": 3},
    "checkpoint": lambda state: {"model": dict(state), "optimizer": {"lr": 0.1}},
    "nested": lambda state: {"model": {"state_dict": dict(state)}},
    "no classifier": without_classifier,
    "other classes": with_other_classifier,
    "foreign head": with_foreign_head,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_all_habits_are_understood(
    layout, squeezenet, images, expected, tmp_path
):
    path = tmp_path / "weights.pth"
    torch.save(LAYOUTS[layout](squeezenet.state_dict()), path)
    assert torch.allclose(embed(path, images), expected, rtol=1e-4)
    assert torch.allclose(embed(str(path), images), expected, rtol=1e-4)


@pytest.mark.parametrize("layout", ["plain", "DataParallel", "no classifier"])
def test_safetensors_are_read(layout, squeezenet, images, expected, tmp_path):
    path = tmp_path / "weights.safetensors"
    state = LAYOUTS[layout](squeezenet.state_dict())
    save_file({key: value.clone() for key, value in state.items()}, path)
    assert torch.allclose(embed(path, images), expected, rtol=1e-4)


def test_the_old_file_format_of_torch_is_read(squeezenet, images, expected, tmp_path):
    path = tmp_path / "weights.pth"
    state = squeezenet.state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert torch.allclose(embed(path, images), expected, rtol=1e-4)


def test_half_precision_files_run_in_float32(squeezenet, images, expected, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({k: v.half() for k, v in squeezenet.state_dict().items()}, path)
    embedding = embed(path, images)
    assert embedding.dtype == torch.float32
    assert torch.allclose(embedding, expected, rtol=0.05, atol=0.01 * expected.max())


def test_old_keys_of_densenet_are_read(images, tmp_path):
    model = build_random(densenet121, 0).eval()
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])")
    state = {old.sub(r"\1.\2", k): v for k, v in model.state_dict().items()}
    # Files from before torch 0.4.1 lack the counters of BatchNorm.
    state = {k: v for k, v in state.items() if "num_batches" not in k}
    torch.save(state, tmp_path / "weights.pth")
    with torch.inference_mode():
        reference = model.features(images).relu().mean((2, 3))
    embedding = embed(tmp_path / "weights.pth", images, "densenet121")
    assert torch.allclose(embedding, reference, rtol=1e-4, atol=1e-5)


def missing(state):
    return {k: v for k, v in state.items() if k != "features.3.squeeze.weight"}


def reshaped(state):
    return {**state, "features.0.weight": torch.zeros(64, 1, 3, 3)}


def deeper(state):
    return {**state, "features.13.squeeze.weight": torch.zeros(2, 2)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (missing, r"missing: features\.3\.squeeze\.weight"),
        (reshaped, r"size mismatch for features\.0\.weight: .*\[64, 1, 3, 3\]"),
        (deeper, r"unknown: features\.13\.squeeze\.weight"),
        (lambda state: {"layer1.weight": torch.zeros(3)}, "missing: .* and 42 more"),
    ],
)
def test_a_file_of_another_network_is_refused_by_its_keys(
    change, said, squeezenet, tmp_path
):
    path = tmp_path / "weights.pth"
    torch.save(change(squeezenet.state_dict()), path)
    with pytest.raises(WeightsMismatchError, match=said) as caught:
        resolve("squeezenet1_1", weights=path).load()
    assert str(path) in str(caught.value)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_never_executed(tmp_path):
    for zipped in (True, False):
        path, trace = tmp_path / "weights.pth", tmp_path / "trace"
        content = {"state_dict": Bomb(trace)}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(WeightsUnavailableError, match="never executes"):
            resolve("squeezenet1_1", weights=path).load()
        assert not trace.exists()
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(WeightsUnavailableError):
        resolve("squeezenet1_1", weights=path).load()
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"\n <HTML><body>404</body></HTML>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"hello, this is no weights file", "damaged"),
        (bytes(1000), "damaged"),
    ],
)
def test_what_is_no_weights_file_is_named(content, said, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsUnavailableError, match=said) as caught:
        resolve("squeezenet1_1", weights=path).load()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_truncated_file_is_named(suffix, squeezenet, tmp_path):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(squeezenet.state_dict(), path)
    else:
        save_file(squeezenet.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsUnavailableError, match="damaged or incomplete"):
        resolve("squeezenet1_1", weights=path).load()


def test_files_of_whole_programs_are_refused(squeezenet, images, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(squeezenet, path)
    with pytest.raises(WeightsUnavailableError, match=r"model\.state_dict\(\)"):
        resolve("squeezenet1_1", weights=path).load()
    torch.save([1, 2, 3], path)
    with pytest.raises(WeightsUnavailableError, match="no tensors by name"):
        resolve("squeezenet1_1", weights=path).load()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(nn.ReLU()), str(path))
    with pytest.raises(WeightsUnavailableError, match="TorchScript"):
        resolve("squeezenet1_1", weights=path).load()


def test_a_path_without_a_file_is_named(tmp_path):
    for path, said in [(tmp_path / "no.pth", "does not exist"), (tmp_path, "a folder")]:
        with pytest.raises(WeightsUnavailableError, match=said) as caught:
            resolve("squeezenet1_1", weights=path)
        assert str(path) in str(caught.value)


def test_an_unknown_weights_name_lists_the_known_ones():
    with pytest.raises(WeightsUnavailableError, match="IMAGENET1K_V1, IMAGENET1K_V2"):
        resolve("resnet50", weights="IMAGENET1K_V3")


def test_the_fingerprint_is_that_of_the_file(squeezenet, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(squeezenet.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    first = resolve("squeezenet1_1", weights=path)
    assert first.fingerprint == f"sha256:{digest}"
    path.rename(tmp_path / "moved.pth")
    assert resolve("squeezenet1_1", weights=tmp_path / "moved.pth") == first


def test_a_file_that_changed_or_went_is_refused(squeezenet, tmp_path):
    path = tmp_path / "weights.pth"
    state = squeezenet.state_dict()
    torch.save({**state, "classifier.1.bias": torch.full((1000,), 5.0)}, path)
    reference = resolve("squeezenet1_1", weights=path)
    torch.save({**state, "classifier.1.bias": torch.full((1000,), 6.0)}, path)
    with pytest.raises(WeightsMismatchError, match="has changed"):
        reference.load()
    path.unlink()
    with pytest.raises(WeightsUnavailableError, match="is missing"):
        reference.load()


def test_without_a_network_the_error_says_what_to_do(no_network):
    with pytest.raises(WeightsUnavailableError) as caught:
        resolve("squeezenet1_1")
    message = str(caught.value)
    assert "squeezenet1_1-b8a52dc0.pth" in message
    assert str(no_network) in message
    for way_out in ("pocket", "lenet5", "weights=<path", "weights=None", "TORCH_HOME"):
        assert way_out in message
    assert not list(no_network.iterdir())


def test_default_weights_are_those_of_v1():
    # The recipe of V2 makes better classifiers and worse frozen features.
    for name in ("resnet50", "mobilenet_v2", "regnet_y_400mf", "efficientnet_b1"):
        weights = facts()[name]["weights"]
        assert list(weights) == ["IMAGENET1K_V1", "IMAGENET1K_V2"]


@pytest.fixture
def published(monkeypatch, squeezenet, no_network, tmp_path):
    """Return the cached file of SqueezeNet 1.1 as if torchvision had published it."""
    torch.save(squeezenet.state_dict(), tmp_path / "served.pth")
    digest = hashlib.sha256((tmp_path / "served.pth").read_bytes()).hexdigest()
    weights = facts()["squeezenet1_1"]["weights"]
    known = weights["IMAGENET1K_V1"] | {
        "file": f"squeezenet-{digest[:8]}.pth",
        "url": (tmp_path / "served.pth").as_uri(),
        "sha256": digest[:8],
    }
    monkeypatch.setitem(weights, "IMAGENET1K_V1", known)
    return no_network / known["file"]


@pytest.mark.parametrize("weights", ["default", "IMAGENET1K_V1"])
def test_published_weights_are_read_from_the_cache_of_torch(
    weights, published, images, expected, tmp_path
):
    published.parent.mkdir(parents=True)
    published.write_bytes((tmp_path / "served.pth").read_bytes())
    reference = resolve("squeezenet1_1", weights=weights)
    assert reference.info.top1 == pytest.approx(58.178)
    with torch.inference_mode():
        assert torch.allclose(reference.load()(images), expected, rtol=1e-4)


def test_a_cached_file_with_another_hash_is_refused(published):
    published.parent.mkdir(parents=True)
    published.write_bytes(b"something else")
    with pytest.raises(WeightsMismatchError, match=r"has changed.*Delete it"):
        resolve("squeezenet1_1").load()


def test_published_weights_are_downloaded(
    monkeypatch, published, images, expected, tmp_path
):
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    url = (tmp_path / "served.pth").as_uri()
    file = WeightsFile(published.name, published.stem.partition("-")[2], url=url)
    assert file.find() == published
    assert file.locate() == published
    assert published.read_bytes() == (tmp_path / "served.pth").read_bytes()
    assert list(published.parent.iterdir()) == [published]


def test_a_download_with_another_hash_leaves_nothing(monkeypatch, published, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    url = (tmp_path / "served.pth").as_uri()
    file = WeightsFile(published.name, "00000000", url=url)
    with pytest.raises(WeightsUnavailableError, match="served something else"):
        file.find()
    assert not list(published.parent.iterdir())


def test_the_download_folder_is_that_of_torch(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for variable in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        with_torch = download_folder()
        with monkeypatch.context() as patch:
            patch.delitem(__import__("sys").modules, "torch")
            assert download_folder() == with_torch
        monkeypatch.delenv(variable)
