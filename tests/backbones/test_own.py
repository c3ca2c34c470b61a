"""The backbones of the package itself."""

import hashlib
from pathlib import Path

import pytest
import torch

import sktl.backbones
from sktl.backbones import _make_table, _own, get_backbone, resolve
from sktl.backbones._build import build_random
from sktl.backbones._registry import source_of
from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError

FOLDER = Path(sktl.backbones.__file__).parent / "weights"


BUNDLED = [name for name, facts in _own.table().items() if "sha256" in facts]


@pytest.mark.parametrize("name", _own.names())
def test_the_table_is_that_of_the_network_and_its_file(name):
    assert _own.table()[name] == _make_table.own_facts_of(name)
    info = get_backbone(name)
    assert (info.stages[0], info.stages[-1] in ("pool", "fc6", "fc7")) == ("stem", True)


@pytest.mark.parametrize("name", _own.names())
def test_stages_are_the_network_without_its_head(name):
    info, source = get_backbone(name), source_of(name)
    model = build_random(lambda: source.model(None, random=True), 0).eval()
    network = source.staged(model, info).eval()
    x = torch.randn(
        2, info.recipe.channels, *info.recipe.size, generator=torch.Generator()
    )
    with torch.inference_mode():
        assert torch.allclose(model.head(network(x)), model(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_are_those_recorded(name):
    file = FOLDER / f"{name}.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    reference = resolve(name)
    assert reference.fingerprint == f"sha256:{digest}"
    assert all(torch.isfinite(p).all() for p in reference.load().parameters())


def test_every_bundled_file_is_recorded():
    assert {file.stem for file in FOLDER.glob("*.safetensors")} == set(BUNDLED)


def test_altered_bundled_weights_are_refused(monkeypatch):
    monkeypatch.setitem(_own.table()["lenet5"], "sha256", "0" * 64)
    with pytest.raises(WeightsMismatchError, match="were altered"):
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
