"""The backbones of the package itself."""

import hashlib
import sys
from pathlib import Path

import pytest
import torch

import sktl
from sktl.backbones import get_backbone, resolve
from sktl.backbones._catalogue import facts
from sktl.backbones._loading import build_random
from sktl.backbones._registry import source_of
from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError

FOLDER = Path(sktl.backbones.__file__).parent / "weights"
BUNDLED = sktl.list_backbones(source="bundled")
OWN = [*BUNDLED, *sktl.list_backbones(source="own")]


def get_digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", OWN)
def test_stages_have_the_usual_names(name):
    stages = get_backbone(name).stages
    assert stages[0] == "stem"
    assert stages[-1] in ("pool", "fc6", "fc7")


@pytest.mark.parametrize("name", OWN)
def test_stages_are_the_network_without_its_head(name):
    info, source = get_backbone(name), source_of(name)
    model = build_random(lambda: source.build(random=True), 0).eval()
    network = source.cut(model, info).eval()
    x = torch.randn(
        2, info.recipe.channels, *info.recipe.size, generator=torch.Generator()
    )
    with torch.inference_mode():
        assert torch.allclose(model.head(network(x)), model(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_are_those_recorded(name):
    file = FOLDER / f"{name}.safetensors"
    reference = resolve(name)
    assert reference.fingerprint == f"sha256:{get_digest(file)}"
    assert all(torch.isfinite(p).all() for p in reference.load().parameters())


def test_every_bundled_file_is_recorded():
    assert {file.stem for file in FOLDER.glob("*.safetensors")} == set(BUNDLED)


def test_altered_bundled_weights_are_refused(monkeypatch):
    monkeypatch.setitem(facts()["lenet5"]["weights"]["MNIST"], "sha256", "0" * 64)
    with pytest.raises(WeightsMismatchError, match=r"has changed.*Install"):
        resolve("lenet5").load()


def test_zfnet_has_no_published_weights():
    with pytest.raises(WeightsUnavailableError, match="no published weights"):
        resolve("zfnet")


def test_zfnet_has_the_maps_of_the_paper():
    network = resolve("zfnet", weights=None, random_state=0).load()
    x = torch.zeros(1, 3, 224, 224)
    sides = []
    with torch.inference_mode():
        for stage in ("stem", "stage1", "stage2", "stage3", "stage4"):
            sides.append(network.run(x, upto=stage).shape[2])
    assert sides == [55, 13, 13, 13, 6]


@pytest.fixture
def data_package(monkeypatch, tmp_path):
    """Install a package that brings the weights of ``lenet5``, and return its file."""
    file = tmp_path / "lenet_weights" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes((FOLDER / "lenet5.safetensors").read_bytes())
    info = tmp_path / "lenet_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: lenet-weights\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    known = facts()["lenet5"]["weights"]["MNIST"] | {
        "package": "lenet-weights",
        "file": "lenet_weights/model.safetensors",
    }
    monkeypatch.setitem(facts()["lenet5"]["weights"], "MNIST", known)
    return file


def test_weights_come_from_an_installed_package_that_is_not_imported(data_package):
    (data_package.parent / "__init__.py").write_text("raise AssertionError")
    plain = resolve("lenet5")
    assert plain.fingerprint == f"sha256:{get_digest(data_package)}"
    assert plain.load().info.n_features == 84


def test_another_file_in_an_installed_package_is_refused(data_package):
    data_package.write_bytes(b"something else")
    with pytest.raises(WeightsMismatchError, match=r"has changed.*lenet-weights again"):
        resolve("lenet5").load()
    data_package.unlink()
    with pytest.raises(WeightsUnavailableError, match=r"missing.*lenet-weights"):
        resolve("lenet5")


def test_a_missing_package_is_named(data_package, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[1:])
    with pytest.raises(WeightsUnavailableError, match="pip install lenet-weights"):
        resolve("lenet5")
