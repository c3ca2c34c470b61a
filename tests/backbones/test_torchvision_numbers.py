"""Embeddings of every torchvision family equal a plain torchvision forward."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sktl.backbones import get_backbone
from sktl.backbones._families import FAMILIES, family_of
from sktl.backbones._loading import build_empty
from sktl.backbones._registry import source_of

# A small member of each family, and the smallest image that it takes in good time.
CLASSIFIERS = {
    "alexnet": 64,
    "vgg11": 32,
    "vgg11_bn": 32,
    "googlenet": 64,
    "inception_v3": 96,
    "resnet18": 64,
    "resnet50": 64,
    "wide_resnet50_2": 64,
    "resnext50_32x4d": 64,
    "densenet121": 64,
    "squeezenet1_0": 64,
    "squeezenet1_1": 64,
    "mobilenet_v2": 64,
    "mnasnet0_5": 64,
    "shufflenet_v2_x0_5": 64,
    "mobilenet_v3_small": 64,
    "mobilenet_v3_large": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "vit_b_32": 224,
    "swin_t": 64,
    "swin_v2_t": 64,
    "convnext_tiny": 64,
    "maxvit_t": 224,
}
# Where the trunk ends in what the backbone of a detector or segmenter returns.
TRUNKS = {
    "fasterrcnn_resnet50_fpn": ("backbone.body", "3"),
    "fasterrcnn_resnet50_fpn_v2": ("backbone.body", "3"),
    "fasterrcnn_mobilenet_v3_large_fpn": ("backbone.body", "1"),
    "maskrcnn_resnet50_fpn": ("backbone.body", "3"),
    "maskrcnn_resnet50_fpn_v2": ("backbone.body", "3"),
    "keypointrcnn_resnet50_fpn": ("backbone.body", "3"),
    "retinanet_resnet50_fpn": ("backbone.body", "2"),
    "retinanet_resnet50_fpn_v2": ("backbone.body", "2"),
    "fcos_resnet50_fpn": ("backbone.body", "2"),
    "ssd300_vgg16": ("backbone", None),
    "ssdlite320_mobilenet_v3_large": ("backbone", "1"),
    "deeplabv3_resnet50": ("backbone", "out"),
    "deeplabv3_mobilenet_v3_large": ("backbone", "out"),
    "fcn_resnet50": ("backbone", "out"),
    "lraspp_mobilenet_v3_large": ("backbone", "high"),
}


@pytest.fixture
def build(with_noise):
    """Return what builds the model of a name, with noise in every tensor."""

    def build(name: str) -> nn.Module:
        source = source_of(name)
        return with_noise(lambda: source.build(random=False))

    return build


def last_linear_input(model: nn.Module, x: Tensor) -> Tensor:
    """Return what the classifier of a plain model sees."""
    seen = []
    linear = [m for m in model.modules() if type(m) is nn.Linear][-1]
    handle = linear.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(x)
    handle.remove()
    return seen[0]


def assert_embeds_like(
    name: str, model: nn.Module, x: Tensor, reference: Callable[[], Tensor]
) -> None:
    """Check the numbers, the widths, and that no stage changes what it is given."""
    info = get_backbone(name)
    network = source_of(name).cut(model, info).eval()
    assert tuple(network.stages) == info.stages
    with torch.inference_mode():
        expected = reference()
        given = x
        for stage, width in zip(network.stages, info.widths, strict=True):
            before = given.clone()
            after = network.stages[stage](given)
            assert torch.equal(given, before), f"{stage} changes what it is given"
            assert network.as_map(after).shape[1] == width
            given = after
        embedding = network(x)
        assert torch.equal(network.flat(given), embedding)
    assert embedding.shape == (2, info.n_features)
    scale = expected.abs().max()
    assert scale > 0
    assert torch.isfinite(embedding).all()
    assert (embedding - expected).abs().max() <= 1e-4 * scale


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_embedding_is_what_the_classifier_sees(name, build):
    model = build(name)
    size = CLASSIFIERS[name]
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))

    def reference():
        if name.startswith("squeezenet"):
            return model.features(x).mean((2, 3))
        return last_linear_input(model, x)

    assert_embeds_like(name, model, x, reference)


# The same trunk as another detector's, in another place.
TWINS = {"maskrcnn_resnet50_fpn_v2", "keypointrcnn_resnet50_fpn", "fcn_resnet50"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in TWINS else ())
        for name in TRUNKS
    ],
)
def test_trunk_is_that_of_the_detector_or_segmenter(name, build):
    model = build(name)
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    path, key = TRUNKS[name]

    def reference():
        if key is None:
            # The later maps of SSD need 300 px.
            return model.backbone.extra[0](model.backbone.features(x)).mean((2, 3))
        return model.get_submodule(path)(x)[key].mean((2, 3))

    assert_embeds_like(name, model, x, reference)


def test_every_family_has_a_tested_member():
    tested = {family_of(name).pattern for name in (*CLASSIFIERS, *TRUNKS)}
    torchvision = [family for family in FAMILIES if family.build is None]
    assert {family.pattern for family in torchvision} == tested


def test_frozen_norms_are_those_of_the_published_detectors():
    eps = {
        "fasterrcnn_resnet50_fpn": 0.0,
        "retinanet_resnet50_fpn": 0.0,
        "fcos_resnet50_fpn": 1e-5,
        "fasterrcnn_mobilenet_v3_large_320_fpn": 1e-5,
    }
    for name, expected in eps.items():
        source = source_of(name)
        published = build_empty(lambda: source.build(random=False))  # noqa: B023
        random = build_empty(lambda: source.build(random=True))  # noqa: B023
        norms = [m for m in published.modules() if hasattr(m, "running_var")]
        assert {type(m).__name__ for m in norms} == {"FrozenBatchNorm2d"}
        assert {m.eps for m in norms} == {expected}
        assert any(isinstance(m, nn.BatchNorm2d) for m in random.modules())


def test_vit_takes_other_image_sizes():
    from torchvision.models import VisionTransformer

    vit = VisionTransformer(64, 16, 4, 2, 32, 64, num_classes=3).eval()
    vit.encoder.pos_embedding.data.normal_(generator=torch.Generator().manual_seed(0))
    info = get_backbone("vit_b_16")
    network = source_of("vit_b_16").cut(vit, info)
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = network.run(x, upto="stem")
        assert tokens.shape == (2, 1 + 6 * 4, 32)
        assert network(x).shape == (2, 32)
        same = network.run(x[:, :, :64], upto="stem")
        patches = vit.conv_proj(x[:, :, :64]).flatten(2).transpose(1, 2)
        expected = patches + vit.encoder.pos_embedding[:, 1:]
    assert torch.allclose(same[:, 1:], expected, atol=1e-6)


def test_weights_without_classifier_end_before_it():
    info = source_of("vgg16").info("IMAGENET1K_FEATURES")
    assert info.stages[-1] == "pool"
    assert info.recipe.mean == pytest.approx((0.48235, 0.45882, 0.40784))
    assert info.n_features == 512 * 7 * 7
