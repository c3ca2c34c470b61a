"""Any network of timm, cut by watching it run."""

import copy
import math
import pickle

import pytest
import torch
from safetensors.torch import save_file

import sktl
from sktl.backbones import _timm, resolve
from sktl.backbones._loading import build_random
from sktl.backbones._registry import source_of
from sktl.exceptions import (
    BackboneNotFoundError,
    MissingExtraError,
    StageNotFoundError,
    WeightsMismatchError,
    WeightsUnavailableError,
)

timm = pytest.importorskip("timm")

FIVE = ("stem", "stage1", "stage2", "stage3", "stage4", "pool")
# The stages that these names are known to have; a change would move every cut.
PINNED = {
    "test_resnet": FIVE,
    "test_efficientnet": ("stem", *(f"stage{i}" for i in range(1, 7)), "pool"),
    "test_convnext": FIVE,
    "test_byobnet": FIVE,
    "test_nfnet": None,
    "test_vit": ("stem", *(f"stage{i}" for i in range(1, 7)), "pool"),
    "test_mambaout": None,
}
SLOW = {
    "resnet10t": FIVE,
    "vit_tiny_patch16_224": FIVE,
    "swin_tiny_patch4_window7_224": FIVE,
    "efficientnet_b0": FIVE,
    "convnext_atto": FIVE,
    "xception41": FIVE,
    "legacy_xception": FIVE,
    "inception_v4": ("stem", *(f"stage{i}" for i in range(1, 7)), "pool"),
    "inception_resnet_v2": ("stem", *(f"stage{i}" for i in range(1, 6)), "pool"),
    "legacy_senet154": FIVE,
    "seresnext50_32x4d": FIVE,
    "mobilenetv1_100": ("stem", *(f"stage{i}" for i in range(1, 6)), "pool"),
    "darknet53": ("stem", *(f"stage{i}" for i in range(1, 6)), "pool"),
    "eva02_tiny_patch14_224": ("stem", "pool"),
    "crossvit_tiny_240": ("stage1",),
}


# Convolutional all the way: a small image shows the same as a large one.
ANY_SIZE = {
    *("xception41", "legacy_xception", "inception_v4", "inception_resnet_v2"),
    *("legacy_senet154", "seresnext50_32x4d", "mobilenetv1_100", "darknet53"),
    *("resnet10t", "efficientnet_b0", "convnext_atto"),
}


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        *((name, stages) for name, stages in PINNED.items() if timm.is_model(name)),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW.items()),
    ],
)
def test_embedding_is_that_of_timm(name, stages, with_noise):
    source = source_of(f"timm/{name}")
    model = with_noise(lambda: timm.create_model(name))
    info = sktl.get_backbone(f"timm/{name}")
    network = source.cut(copy.deepcopy(model), info).eval()
    size = (96, 96) if name in ANY_SIZE else info.recipe.size
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, info.recipe.channels, *size, generator=generator)
    with torch.inference_mode():
        features = model.forward_features(x)
        expected = model.forward_head(features, pre_logits=True).flatten(1)
        given = x
        for stage, width in zip(network.stages, info.widths, strict=True):
            given = network.stages[stage](given)
            assert network.as_map(given).shape[1] == width
        embedding = network.flat(given)
    assert stages is None or info.stages == stages
    assert len(info.stages) > 2 or stages is not None
    assert embedding.shape == (2, info.n_features)
    scale = expected.abs().max()
    assert (embedding - expected).abs().max() <= 1e-4 * scale
    assert info.n_parameters == sum(p.numel() for p in network.parameters())


def test_no_stage_changes_what_it_is_given():
    network = resolve("timm/test_resnet", weights=None, random_state=0).load()
    given = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for stage in network.stages.values():
            before = given.clone()
            after = stage(given)
            assert torch.equal(given, before)
            given = after


def test_recipe_is_that_of_timm():
    for name in ("test_resnet", "test_vit", "test_convnext"):
        recipe = sktl.get_backbone(f"timm/{name}").recipe
        config = timm.get_pretrained_cfg(name)
        data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
        assert recipe.size == data["input_size"][1:]
        assert recipe.resize == math.floor(recipe.size[0] / data["crop_pct"])
        assert recipe.interpolation == data["interpolation"]
        assert recipe.mean == pytest.approx(data["mean"])
        assert recipe.std == pytest.approx(data["std"])


def test_weights_names_are_the_tags_of_timm():
    info = sktl.get_backbone("timm/vit_tiny_patch16_224")
    assert info.weights[0] == "augreg_in21k_ft_in1k"
    assert "augreg_in21k" in info.weights
    chosen = sktl.get_backbone("timm/vit_tiny_patch16_224.augreg_in21k")
    assert chosen.weights[0] == "augreg_in21k"


def test_names_are_listed_when_asked_for():
    assert "timm/xception41" in sktl.list_backbones(source="timm")
    resnets = sktl.list_backbones(family="resnet", source="timm")
    assert "timm/resnet10t" in resnets
    assert "timm/xception41" not in resnets
    assert not any(name.startswith("timm/") for name in sktl.list_backbones())


def test_near_misses_are_suggested():
    with pytest.raises(BackboneNotFoundError, match="'timm/xception41'"):
        resolve("timm/xception_41")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"sktl\[timm\]"):
        resolve("timm/xception41")


@pytest.fixture
def tiny(tmp_path):
    """Return a network of timm and a file with its weights."""
    model = build_random(lambda: timm.create_model("test_resnet"), 5).eval()
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)
    return model, path


def embed(model, x):
    with torch.inference_mode():
        return model.forward_head(model.forward_features(x), pre_logits=True)


def test_weights_come_from_a_file(tiny):
    model, path = tiny
    x = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    reference = resolve("timm/test_resnet", weights=path)
    assert torch.allclose(reference.load()(x), embed(model, x), rtol=1e-4, atol=1e-6)
    again = pickle.loads(pickle.dumps(reference))
    assert again == reference
    state = {**model.state_dict(), "fc.weight": torch.zeros(3, 96)}
    torch.save({"state_dict": state}, path.with_suffix(".pth"))
    other = resolve("timm/test_resnet", weights=path.with_suffix(".pth")).load()
    assert torch.allclose(other(x), embed(model, x), rtol=1e-4, atol=1e-6)
    with pytest.raises(WeightsMismatchError, match="does not fit"):
        resolve("timm/test_efficientnet", weights=path).load()


def test_published_weights_come_from_the_hub(tiny, monkeypatch):
    model, path = tiny
    asked = []

    def download(repository, file, revision=None):
        asked.append((repository, file))
        return str(path)

    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_download", download)
    x = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    reference = resolve("timm/test_resnet")
    assert asked == [("timm/test_resnet.r160_in1k", "model.safetensors")]
    assert torch.allclose(reference.load()(x), embed(model, x), rtol=1e-4, atol=1e-6)
    assert reference.fingerprint == resolve("timm/test_resnet", path).fingerprint


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def refuse(*args, **kwargs):
        raise hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    with pytest.raises(WeightsUnavailableError, match=r"weights=None") as caught:
        resolve("timm/test_resnet")
    assert "timm/test_resnet.r160_in1k" in str(caught.value)


def test_a_wrong_cut_is_noticed(monkeypatch):
    info, plan = _timm._described("timm/test_resnet")
    short = {**plan, "stage4": [torch.nn.ReLU()]}
    monkeypatch.setattr(_timm, "_described", lambda *args: (info, short))
    with pytest.raises(StageNotFoundError, match="do not give the numbers"):
        resolve("timm/test_resnet", weights=None, random_state=0).load()
