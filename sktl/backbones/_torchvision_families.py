"""The families of torchvision: which of their modules make up which stage.

A family is a pattern of names and a plan: ``{stage: pieces}``, where a piece is the
path of a submodule, a slice of a container, or a small layer that the original writes
as a function (see :func:`sktl.backbones._staged.carve`). Where the plan depends on the
model, it is a function of it. To add a family, add an entry to ``FAMILIES`` and run
``python -m sktl.backbones._make_table``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from sktl.backbones._layers import ClassToken, GlobalMean, ImageNetToHalf, ViTStem

Plan = dict[str, object]
_FLAT = nn.Flatten


@dataclass(frozen=True)
class Family:
    """How the models of one family are built and cut."""

    name: str
    year: int
    pattern: str
    plan: Callable[[nn.Module], Plan]
    layout: str = "nchw"
    n_prefix_tokens: int = 0
    # Arguments of the builder: always; with random weights; with published ones.
    build: dict = field(default_factory=dict)
    build_random: dict = field(default_factory=dict)
    build_published: dict = field(default_factory=dict)
    # Keys of published files that are spelled in an older way: (pattern, new text).
    rename: tuple[str, str] | None = None
    # The eps of BatchNorm layers that are frozen in the published model, or None.
    frozen_norm: float | None = None


def family_of(name: str) -> Family | None:
    """Return the family that knows the model called ``name``."""
    for family in FAMILIES:
        if re.fullmatch(family.pattern, name):
            return family
    return None


def _under(prefix: str, plan: Plan) -> Plan:
    """Return ``plan`` with every path below ``prefix``."""
    return {
        stage: [
            f"{prefix}.{piece}" if isinstance(piece, str) else piece
            for piece in (pieces if isinstance(pieces, list) else [pieces])
        ]
        for stage, pieces in plan.items()
    }


def _runs(prefix: str, *lengths: int) -> Plan:
    """Return the stem (the first child of ``prefix``) and runs of its next children."""
    plan: Plan = {"stem": f"{prefix}[0:1]"}
    start = 1
    for i, length in enumerate(lengths, 1):
        plan[f"stage{i}"] = f"{prefix}[{start}:{start + length}]"
        start += length
    return plan


def _split(container: nn.Sequential, prefix: str, last: type[nn.Module]) -> Plan:
    """Return stages of ``container`` that end with each module of type ``last``."""
    ends = [i + 1 for i, module in enumerate(container) if isinstance(module, last)]
    starts = [0, *ends[:-1]]
    names = ["stem", *(f"stage{i}" for i in range(1, len(ends)))]
    return {
        name: f"{prefix}[{start}:{end}]"
        for name, start, end in zip(names, starts, ends, strict=True)
    }


def _alexnet(model: nn.Module) -> Plan:
    return {
        "stem": "features[0:3]",
        "stage1": "features[3:6]",
        "stage2": "features[6:8]",
        "stage3": "features[8:10]",
        "stage4": "features[10:13]",
        "pool": "avgpool",
        "fc6": [_FLAT(), "classifier[0:3]"],
        "fc7": "classifier[3:6]",
    }


def _vgg(model: nn.Module) -> Plan:
    return _split(model.features, "features", nn.MaxPool2d) | {
        "pool": "avgpool",
        "fc6": [_FLAT(), "classifier[0:3]"],
        "fc7": "classifier[3:6]",
    }


def _googlenet(model: nn.Module) -> Plan:
    first = [ImageNetToHalf()] if model.transform_input else []
    return {
        "stem": [*first, "conv1", "maxpool1"],
        "stage1": ["conv2", "conv3", "maxpool2"],
        "stage2": ["inception3a", "inception3b", "maxpool3"],
        "stage3": [f"inception4{block}" for block in "abcde"] + ["maxpool4"],
        "stage4": ["inception5a", "inception5b"],
        "pool": ["avgpool", _FLAT()],
    }


def _inception_v3(model: nn.Module) -> Plan:
    first = [ImageNetToHalf()] if model.transform_input else []
    convolutions = [f"Conv2d_{name}_3x3" for name in ("1a", "2a", "2b")]
    return {
        "stem": [*first, *convolutions, "maxpool1"],
        "stage1": ["Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"],
        "stage2": ["Mixed_5b", "Mixed_5c", "Mixed_5d"],
        "stage3": [f"Mixed_6{block}" for block in "abcde"],
        "stage4": ["Mixed_7a", "Mixed_7b", "Mixed_7c"],
        "pool": ["avgpool", _FLAT()],
    }


_RESNET_BODY: Plan = {
    "stem": ["conv1", "bn1", "relu", "maxpool"],
    "stage1": "layer1",
    "stage2": "layer2",
    "stage3": "layer3",
    "stage4": "layer4",
}


def _resnet(model: nn.Module) -> Plan:
    return _RESNET_BODY | {"pool": ["avgpool", _FLAT()]}


def _densenet(model: nn.Module) -> Plan:
    # A transition begins with the norm of what the dense block before it gathered.
    return {
        "stem": "features[0:4]",
        "stage1": "features.denseblock1",
        "stage2": ["features.transition1", "features.denseblock2"],
        "stage3": ["features.transition2", "features.denseblock3"],
        "stage4": [
            "features.transition3",
            "features.denseblock4",
            "features.norm5",
            nn.ReLU(),
        ],
        "pool": GlobalMean(),
    }


def _squeezenet(model: nn.Module) -> Plan:
    # The classifier of a SqueezeNet is a 1x1 convolution on the last map: the
    # embedding is the mean of what it sees.
    return _split(model.features, "features", nn.MaxPool2d) | {
        "stage3": f"features[{_last(model.features, nn.MaxPool2d) + 1}:]",
        "pool": GlobalMean(),
    }


def _last(container: nn.Sequential, kind: type[nn.Module]) -> int:
    return max(i for i, module in enumerate(container) if isinstance(module, kind))


def _mobilenet_v2(model: nn.Module) -> Plan:
    return _runs("features", 1, 2, 3, 4, 3, 3, 1, 1) | {"pool": GlobalMean()}


_MOBILENET_V3_LARGE = (1, 2, 3, 4, 2, 3, 1)


def _mobilenet_v3(model: nn.Module) -> Plan:
    small = (1, 2, 3, 2, 3, 1)
    lengths = small if len(model.features) == 13 else _MOBILENET_V3_LARGE
    return _runs("features", *lengths) | {
        "pool": ["avgpool", _FLAT()],
        "fc6": "classifier[0:3]",
    }


def _mnasnet(model: nn.Module) -> Plan:
    body = {f"stage{i}": f"layers[{7 + i}:{8 + i}]" for i in range(1, 7)}
    return {
        "stem": "layers[0:8]",
        **body,
        "stage7": "layers[14:17]",
        "pool": GlobalMean(),
    }


def _shufflenet(model: nn.Module) -> Plan:
    return {
        "stem": ["conv1", "maxpool"],
        "stage1": "stage2",
        "stage2": "stage3",
        "stage3": "stage4",
        "stage4": "conv5",
        "pool": GlobalMean(),
    }


def _efficientnet(model: nn.Module) -> Plan:
    lengths = [1] * (len(model.features) - 1)
    return _runs("features", *lengths) | {"pool": ["avgpool", _FLAT()]}


def _regnet(model: nn.Module) -> Plan:
    blocks = {f"stage{i}": f"trunk_output.block{i}" for i in range(1, 5)}
    return {"stem": "stem", **blocks, "pool": ["avgpool", _FLAT()]}


def _convnext(model: nn.Module) -> Plan:
    return _runs("features", 1, 2, 2, 2) | {"pool": ["avgpool", "classifier[0:2]"]}


def _vit(model: nn.Module) -> Plan:
    n_layers = len(model.encoder.layers)
    quarter = -(-n_layers // 4)
    stages: Plan = {
        f"stage{i + 1}": [f"encoder.layers[{i * quarter}:{(i + 1) * quarter}]"]
        for i in range(-(-n_layers // quarter))
    }
    stages[f"stage{len(stages)}"].append("encoder.ln")
    return {"stem": ViTStem(model), **stages, "pool": ClassToken()}


def _swin(model: nn.Module) -> Plan:
    return _runs("features", 1, 2, 2, 2) | {
        "stage4": ["features[6:8]", "norm"],
        "pool": ["permute", "avgpool", "flatten"],
    }


def _maxvit(model: nn.Module) -> Plan:
    blocks = {f"stage{i}": f"blocks.{i - 1}" for i in range(1, len(model.blocks) + 1)}
    return {
        "stem": "stem",
        **blocks,
        "pool": "classifier[0:3]",
        "fc6": "classifier[3:5]",
    }


def _resnet_trunk(prefix: str) -> Callable[[nn.Module], Plan]:
    plan = _under(prefix, _RESNET_BODY) | {"pool": [GlobalMean()]}
    return lambda model: plan


def _mobilenet_v3_trunk(prefix: str) -> Callable[[nn.Module], Plan]:
    plan = _runs(prefix, *_MOBILENET_V3_LARGE) | {"pool": GlobalMean()}
    return lambda model: plan


def _ssd(model: nn.Module) -> Plan:
    # The maps that SSD predicts from begin at conv4_3 and the dilated fc7; the
    # normalised side branch of conv4_3 is part of its head.
    ends = [
        i
        for i, module in enumerate(model.backbone.features)
        if isinstance(module, nn.MaxPool2d)
    ]
    bounds = [0, *(end + 1 for end in ends), len(model.backbone.features)]
    names = ["stem", "stage1", "stage2", "stage3"]
    plan: Plan = {
        name: f"backbone.features[{start}:{end}]"
        for name, start, end in zip(names, bounds[:-1], bounds[1:], strict=True)
    }
    return plan | {"stage4": "backbone.extra.0", "pool": GlobalMean()}


def _ssdlite(model: nn.Module) -> Plan:
    # features.0 ends inside a block, after the expansion whose map SSDlite reads.
    first = _runs("backbone.features.0", 1, 2, 3, 4, 3)
    return first | {"stage6": "backbone.features.1", "pool": GlobalMean()}


_NO_DOWNLOAD = {"weights_backbone": None}
_LEGACY_DENSE = r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)"

FAMILIES: tuple[Family, ...] = (
    Family("AlexNet", 2012, r"alexnet", _alexnet),
    Family("VGG", 2014, r"vgg\d+(_bn)?", _vgg, build_published={"init_weights": False}),
    Family(
        "GoogLeNet",
        2014,
        r"googlenet",
        _googlenet,
        build={"aux_logits": False},
        build_random={"init_weights": True},
        build_published={"init_weights": False, "transform_input": True},
    ),
    Family(
        "Inception",
        2015,
        r"inception_v3",
        _inception_v3,
        build={"aux_logits": False},
        build_random={"init_weights": True},
        build_published={"init_weights": False, "transform_input": True},
    ),
    Family("ResNet", 2015, r"resnet\d+", _resnet),
    Family("Wide ResNet", 2016, r"wide_resnet\d+_\d+", _resnet),
    Family("ResNeXt", 2016, r"resnext\d+_\d+x\d+d", _resnet),
    Family(
        "DenseNet",
        2016,
        r"densenet\d+",
        _densenet,
        rename=(_LEGACY_DENSE, r"\1\2"),
    ),
    Family("SqueezeNet", 2016, r"squeezenet\d_\d", _squeezenet),
    Family("MobileNet v2", 2018, r"mobilenet_v2", _mobilenet_v2),
    Family("MNASNet", 2018, r"mnasnet\d_\d+", _mnasnet),
    Family("ShuffleNet v2", 2018, r"shufflenet_v2_x\d_\d", _shufflenet),
    Family("MobileNet v3", 2019, r"mobilenet_v3_(small|large)", _mobilenet_v3),
    Family("EfficientNet", 2019, r"efficientnet_b\d", _efficientnet),
    Family("RegNet", 2020, r"regnet_[xy]_[\d_]+[mg]f", _regnet),
    Family("ViT", 2020, r"vit_[a-z]_\d+", _vit, layout="tokens", n_prefix_tokens=1),
    Family("EfficientNet v2", 2021, r"efficientnet_v2_[sml]", _efficientnet),
    Family("Swin", 2021, r"swin_[tsb]", _swin, layout="nhwc"),
    Family("Swin v2", 2021, r"swin_v2_[tsb]", _swin, layout="nhwc"),
    Family("ConvNeXt", 2022, r"convnext_\w+", _convnext),
    Family("MaxViT", 2022, r"maxvit_\w+", _maxvit),
    Family(
        "Faster R-CNN",
        2015,
        r"fasterrcnn_resnet50_fpn",
        _resnet_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
        frozen_norm=0.0,
    ),
    Family(
        "Faster R-CNN",
        2021,
        r"fasterrcnn_resnet50_fpn_v2",
        _resnet_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
    ),
    Family(
        "Faster R-CNN",
        2019,
        r"fasterrcnn_mobilenet_v3_large(_320)?_fpn",
        _mobilenet_v3_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
        frozen_norm=1e-5,
    ),
    Family(
        "Mask R-CNN",
        2017,
        r"maskrcnn_resnet50_fpn",
        _resnet_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
        frozen_norm=0.0,
    ),
    Family(
        "Mask R-CNN",
        2021,
        r"maskrcnn_resnet50_fpn_v2",
        _resnet_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
    ),
    Family(
        "Keypoint R-CNN",
        2017,
        r"keypointrcnn_resnet50_fpn",
        _resnet_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
        frozen_norm=0.0,
    ),
    Family(
        "RetinaNet",
        2017,
        r"retinanet_resnet50_fpn",
        _resnet_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
        frozen_norm=0.0,
    ),
    Family(
        "RetinaNet",
        2019,
        r"retinanet_resnet50_fpn_v2",
        _resnet_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
    ),
    Family(
        "FCOS",
        2019,
        r"fcos_resnet50_fpn",
        _resnet_trunk("backbone.body"),
        build=_NO_DOWNLOAD,
        frozen_norm=1e-5,
    ),
    Family("SSD", 2015, r"ssd300_vgg16", _ssd, build=_NO_DOWNLOAD),
    Family(
        "SSDlite", 2018, r"ssdlite320_mobilenet_v3_large", _ssdlite, build=_NO_DOWNLOAD
    ),
    Family(
        "DeepLab v3",
        2017,
        r"deeplabv3_resnet\d+",
        _resnet_trunk("backbone"),
        build=_NO_DOWNLOAD,
    ),
    Family(
        "DeepLab v3",
        2019,
        r"deeplabv3_mobilenet_v3_large",
        _mobilenet_v3_trunk("backbone"),
        build=_NO_DOWNLOAD,
    ),
    Family(
        "FCN",
        2014,
        r"fcn_resnet\d+",
        _resnet_trunk("backbone"),
        build=_NO_DOWNLOAD,
    ),
    Family(
        "LR-ASPP",
        2019,
        r"lraspp_mobilenet_v3_large",
        _mobilenet_v3_trunk("backbone"),
        build=_NO_DOWNLOAD,
    ),
)
