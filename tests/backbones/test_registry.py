"""Names of backbones: listing, finding, suggesting, adding."""

import pytest
from torch import nn

import sktl
from sktl.backbones import resolve
from sktl.exceptions import BackboneNotFoundError, StageNotFoundError
from sktl.images import Recipe

FAMILIES = {
    *("AlexNet", "VGG", "GoogLeNet", "Inception", "ResNet", "ResNeXt", "Wide ResNet"),
    *("DenseNet", "SqueezeNet", "MobileNet v2", "MobileNet v3", "MNASNet"),
    *("ShuffleNet v2", "EfficientNet", "EfficientNet v2", "RegNet", "ConvNeXt", "ViT"),
    *("Swin", "Swin v2", "MaxViT", "Faster R-CNN", "Mask R-CNN", "Keypoint R-CNN"),
    *("RetinaNet", "FCOS", "SSD", "SSDlite", "DeepLab v3", "FCN", "LR-ASPP"),
    *("LeNet", "ZFNet", "Pocket"),
}


def tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


def test_all_families_are_listed():
    names = sktl.list_backbones()
    assert {sktl.get_backbone(name).family for name in names} >= FAMILIES
    assert names[:2] == ["lenet5", "pocket"]
    assert len(sktl.list_backbones(source="torchvision")) >= 98


def test_lists_are_filtered():
    assert sktl.list_backbones(family="vgg") == sorted(
        f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")
    )
    assert sktl.list_backbones("MobileNet-V2") == ["mobilenet_v2"]
    lite = [f"efficientnet_lite{i}" for i in range(3)]
    assert sktl.list_backbones(source="own") == [*lite, "zfnet"]
    detectors = sktl.list_backbones(task="detection")
    assert len(detectors) >= 12
    assert "ssd300_vgg16" in detectors
    assert not sktl.list_backbones(family="VGG", task="detection")


@pytest.mark.parametrize("field", ["family", "source", "task"])
def test_a_filter_that_no_backbone_meets_is_an_error(field):
    with pytest.raises(ValueError, match=f"{field}='nonsense'"):
        sktl.list_backbones(**{field: "nonsense"})


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("resnet81", "resnet18"), ("ResNet50", "resnet50"), ("vgg_16", "vgg16")],
)
def test_near_misses_are_suggested(wrong, meant):
    for find in (sktl.get_backbone, resolve):
        with pytest.raises(BackboneNotFoundError, match=f"Did you mean .*'{meant}'"):
            find(wrong)


def test_what_is_no_backbone_is_refused():
    with pytest.raises(BackboneNotFoundError, match="must be a name"):
        resolve(3)


def test_a_registered_name_is_listed_and_described(register):
    register("mine", tiny, family="Tiny", year=2024, recipe=Recipe((32, 32), 40))
    assert sktl.list_backbones(source="module") == ["mine"]
    assert "mine" in sktl.list_backbones()
    info = sktl.get_backbone("mine")
    assert (info.family, info.year, info.source) == ("Tiny", 2024, "module")
    assert info.recipe == Recipe((32, 32), 40)
    assert info.stages == ("stem", "stage1", "pool")
    assert info.n_features == 16


def test_registered_stages_are_those_asked_for(register):
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    stages = {"early": "[0:2]", "late": ["2", "3"], "pool": pool}
    register("mine", tiny, stages=stages, recipe=Recipe((32, 32), None))
    assert sktl.get_backbone("mine").stages == ("early", "late", "pool")
    assert sktl.get_backbone("mine").widths == (8, 16, 16)
    register("mine", tiny, stages={"all": "[0:6]"}, recipe=Recipe((32, 32), None))
    assert sktl.get_backbone("mine").stages == ("all",)


def test_a_stage_without_modules_is_an_error(register):
    for piece, said in [
        ("nonsense", "no submodule 'nonsense'"),
        ("[9:]", "no modules"),
    ]:
        register("mine", tiny, stages={"stem": piece})
        with pytest.raises(StageNotFoundError, match=said):
            sktl.get_backbone("mine")


@pytest.mark.parametrize("name", ["resnet18", "pocket", "timm/mine", "", None])
def test_a_name_that_is_taken_cannot_be_registered(register, name):
    with pytest.raises(ValueError, match="name"):
        register(name, tiny)
