"""The backbones whose architecture, and in part weights, are sktl's own."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from sktl.backbones._info import BackboneInfo
from sktl.backbones._weights import BundledFile
from sktl.images import Recipe

if TYPE_CHECKING:
    from torch import nn

    from sktl.backbones._staged import StagedNetwork


@dataclass(frozen=True)
class _Own:
    """What cannot be measured on a network of ours.

    Its class has the stages as attributes, and a ``head`` that is left out.
    """

    home: str
    family: str
    year: int
    recipe: Recipe
    weights: str | None = None


_GREY_32 = Recipe((32, 32), None, channels=1, mean=(0.1307,), std=(0.3081,))

_OWN = {
    "lenet5": _Own("_lenet5.LeNet5", "LeNet", 1998, _GREY_32, "MNIST"),
    "pocket": _Own(
        "_pocket.Pocket", "Pocket", 2026, Recipe((64, 64), 64), "TINY_IMAGENET"
    ),
    "zfnet": _Own("_zfnet.ZFNet", "ZFNet", 2013, Recipe((224, 224), 256)),
}


@lru_cache
def table() -> dict[str, dict]:
    """Return the measured facts of our networks, and the SHA-256 of their weights.

    ``python -m sktl.backbones._make_table`` writes them; they are what a fingerprint
    says, and what a file is checked against when it is loaded.
    """
    text = files("sktl.backbones").joinpath("_own_table.json").read_text()
    return json.loads(text)


@dataclass(frozen=True)
class OwnSource:
    """One network of this package."""

    name: str

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts."""
        own, facts = _OWN[self.name], table()[self.name]
        return BackboneInfo(
            name=self.name,
            family=own.family,
            year=own.year,
            source="bundled" if own.weights else "own",
            task="classification",
            stages=tuple(facts["stages"]),
            widths=tuple(facts["widths"]),
            recipe=own.recipe,
            n_features=facts["n_features"],
            n_parameters=facts["n_parameters"],
            gflops=facts["gflops"],
            weight_mb=facts.get("mb"),
            weights=(own.weights,) if own.weights else (),
        )

    def published(self, weights: str) -> BundledFile | None:
        """Return the file in the package, or None if there is no such name."""
        own, facts = _OWN[self.name], table()[self.name]
        if weights not in ("default", own.weights) or "sha256" not in facts:
            return None
        return BundledFile(f"{self.name}.safetensors", facts["sha256"], own.weights)

    def model(self, published: str | None, *, random: bool) -> nn.Module:
        """Build the network without weights."""
        module, _, name = _OWN[self.name].home.partition(".")
        return getattr(importlib.import_module(f"sktl.backbones.{module}"), name)()

    def staged(self, model: nn.Module, info: BackboneInfo) -> StagedNetwork:
        """Cut ``model`` into its stages."""
        from sktl.backbones._staged import StagedNetwork, carve

        return StagedNetwork(carve(model, {name: name for name in info.stages}), info)

    def translate(self, model: nn.Module, state: dict) -> dict:
        """Return the weights as they are."""
        return state


def find(name: str) -> OwnSource | None:
    """Return the source of ``name``, or None if it is not one of ours."""
    return OwnSource(name) if name in _OWN else None


def recipe_of(name: str) -> Recipe:
    """Return how the images of one of our networks are prepared."""
    return _OWN[name].recipe


def names() -> list[str]:
    """Return the names of our own networks."""
    return list(_OWN)
