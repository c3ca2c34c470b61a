"""The table of facts against our networks and the installed torchvision."""

import json
from importlib.metadata import version

import pytest
from torchvision import models
from torchvision.transforms._presets import ImageClassification

from sktl.backbones import get_backbone
from sktl.backbones._catalogue import facts
from sktl.backbones._registry import source_of
from tests.backbones import make_facts

FACTS = facts()
TABLE = {name: known for name, known in FACTS.items() if name not in make_facts.OWN}
INSTALLED = make_facts.TORCHVISION
# Facts follow torchvision, which may be another one than they were made with.
MADE_WITH = json.loads(make_facts.TABLE.read_text())["torchvision"]
SAME = version("torchvision").split(".")[:2] == MADE_WITH.split(".")


def test_the_table_lists_our_own_networks():
    assert make_facts.OWN.keys() == FACTS.keys() - TABLE.keys()
    lite = [f"efficientnet_lite{i}" for i in range(3)]
    assert list(make_facts.OWN) == ["lenet5", "pocket", *lite, "zfnet"]


@pytest.mark.skipif(not SAME, reason="the table is of another torchvision")
def test_the_table_lists_what_torchvision_lists():
    assert {name: known["task"] for name, known in TABLE.items()} == INSTALLED


@pytest.mark.parametrize("name", sorted(TABLE.keys() & INSTALLED.keys()))
def test_weights_and_recipes_are_those_of_torchvision(name):
    source = source_of(name)
    entries = {entry.name: entry for entry in models.get_model_weights(name)}
    if SAME:
        assert set(entries) == set(TABLE[name]["weights"])
    for key in entries.keys() & TABLE[name]["weights"].keys():
        entry, file = entries[key], source.published(key)
        assert file.url == entry.url
        assert file.file == entry.url.rsplit("/", 1)[-1]
        assert f"-{file.sha256}." in file.file
        assert len(file.sha256) >= 8
        preset = entry.transforms()
        if isinstance(preset, ImageClassification):
            recipe = source.info(key).recipe
            assert recipe.size == (preset.crop_size[0],) * 2
            assert recipe.resize == preset.resize_size[0]
            assert recipe.interpolation == preset.interpolation.value
            assert recipe.mean == pytest.approx(tuple(preset.mean))
            assert recipe.std == pytest.approx(tuple(preset.std))


def test_published_weights_of_one_network_have_recipes_of_their_own():
    recipe = {
        key: source_of("resnet50").info(key).recipe.resize
        for key in ("IMAGENET1K_V1", "IMAGENET1K_V2")
    }
    assert recipe == {"IMAGENET1K_V1": 256, "IMAGENET1K_V2": 232}
    swag = source_of("vit_b_16").info("IMAGENET1K_SWAG_E2E_V1")
    assert swag.recipe.size == (384, 384)
    assert swag.recipe.interpolation == "bicubic"
    assert get_backbone("vit_b_16").recipe.size == (224, 224)
    assert swag.gflops > 3 * get_backbone("vit_b_16").gflops


def test_known_facts():
    # From torchvision's own tables; classifiers are not counted in the parameters.
    for name, params, gflops, top1 in [
        ("resnet18", 11.7e6 - 513_000, 1.81, 69.76),
        ("vgg16", 138.36e6 - 4.097e6, 15.47, 71.59),
        ("vit_b_16", 86.57e6 - 769_000, 17.56, 81.07),
        ("inception_v3", 27.16e6 - 2.049e6 - 3.33e6, 5.71, 77.29),
    ]:
        info = get_backbone(name)
        assert info.n_parameters == pytest.approx(params, rel=0.01)
        assert info.gflops == pytest.approx(gflops, rel=0.01)
        assert info.top1 == pytest.approx(top1, abs=0.01)


MEASURED = [*make_facts.OWN, "resnet18", "squeezenet1_1", "vgg16", "shufflenet_v2_x0_5"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in MEASURED else pytest.mark.slow)
        for name in sorted(FACTS)
    ],
)
def test_the_script_makes_the_table(name):
    if name in TABLE and not SAME:
        pytest.skip("the table is of another torchvision")
    assert make_facts.facts_of(name) == FACTS[name]
