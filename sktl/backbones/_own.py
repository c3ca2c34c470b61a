"""The backbones whose architecture, and in part weights, are sktl's own."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sktl.backbones._info import BackboneInfo
from sktl.backbones._weights import BundledFile
from sktl.images import Recipe

if TYPE_CHECKING:
    from torch import nn

    from sktl.backbones._staged import StagedNetwork

_GREY_32 = Recipe((32, 32), None, channels=1, mean=(0.1307,), std=(0.3081,))

# Every class has its stages as attributes, and a `head` that is left out.
_CLASSES = {
    "lenet5": ("sktl.backbones._lenet5", "LeNet5"),
    "pocket": ("sktl.backbones._pocket", "Pocket"),
    "zfnet": ("sktl.backbones._zfnet", "ZFNet"),
}
# SHA-256 of the files in `weights/`: what the fingerprint says, checked when loading.
_DIGESTS = {
    "lenet5": "cdaf5a2b2ad210aede142f4b7e0269c3d5dedcec99b16242ba4a9d75bcf39d4a",
}
_FACTS = {
    "lenet5": BackboneInfo(
        name="lenet5",
        family="LeNet",
        year=1998,
        source="bundled",
        task="classification",
        stages=("stem", "stage1", "stage2", "fc6"),
        widths=(6, 16, 120, 84),
        recipe=_GREY_32,
        n_features=84,
        n_parameters=61194,
        gflops=0.0,
        weight_mb=0.25,
        weights=("MNIST",),
    ),
    "pocket": BackboneInfo(
        name="pocket",
        family="Pocket",
        year=2026,
        source="bundled",
        task="classification",
        stages=("stem", "stage1", "stage2", "stage3", "stage4", "pool"),
        widths=(48, 48, 96, 160, 512, 512),
        recipe=Recipe((64, 64), 64),
        n_features=512,
        n_parameters=0,
        gflops=0.0,
        weights=("TINY_IMAGENET",),
    ),
    "zfnet": BackboneInfo(
        name="zfnet",
        family="ZFNet",
        year=2013,
        source="own",
        task="classification",
        stages=(
            *("stem", "stage1", "stage2", "stage3", "stage4"),
            *("pool", "fc6", "fc7"),
        ),
        widths=(96, 256, 384, 384, 256, 256, 4096, 4096),
        recipe=Recipe((224, 224), 256),
        n_features=4096,
        n_parameters=0,
        gflops=0.0,
    ),
}


@dataclass(frozen=True)
class OwnSource:
    """One network of this package."""

    name: str

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts."""
        return _FACTS[self.name]

    def published(self, weights: str) -> BundledFile | None:
        """Return the file in the package, or None if there is no such name."""
        names = _FACTS[self.name].weights
        if weights not in ("default", *names) or self.name not in _DIGESTS:
            return None
        return BundledFile(f"{self.name}.safetensors", _DIGESTS[self.name], names[0])

    def model(self, published: str | None, *, random: bool) -> nn.Module:
        """Build the network without weights."""
        module, name = _CLASSES[self.name]
        return getattr(importlib.import_module(module), name)()

    def staged(self, model: nn.Module, info: BackboneInfo) -> StagedNetwork:
        """Cut ``model`` into its stages."""
        from sktl.backbones._staged import StagedNetwork, carve

        return StagedNetwork(carve(model, {name: name for name in info.stages}), info)

    def translate(self, model: nn.Module, state: dict) -> dict:
        """Return the weights as they are."""
        return state


def find(name: str) -> OwnSource | None:
    """Return the source of ``name``, or None if it is not one of ours."""
    return OwnSource(name) if name in _FACTS else None


def names() -> list[str]:
    """Return the names of our own networks."""
    return list(_FACTS)
