"""The built-in networks: a table of facts, and how to load one.

The table is written by ``tests/backbones/make_facts.py`` and read without torch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from sktl.backbones._info import BackboneInfo
from sktl.backbones._reference import BackboneRef
from sktl.backbones._weights import RandomWeights, WeightsFile
from sktl.images import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sktl.backbones._families import Family
    from sktl.backbones._staged import StagedNetwork


@lru_cache
def facts() -> dict[str, dict]:
    """Return the facts about every network by name."""
    text = files("sktl.backbones").joinpath("_facts.json").read_text()
    return json.loads(text)["backbones"]


@dataclass(frozen=True)
class CatalogueSource:
    """One network of torchvision or of our own."""

    name: str
    structure = ""

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts, with the recipe of the weights called ``published``."""
        known = dict(facts()[self.name])
        weights = known.pop("weights")
        chosen = weights[published or next(iter(weights))] if weights else {}
        recipe = Recipe(**{**known.pop("recipe"), **chosen.get("recipe", {})})
        known = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in (known | chosen.get("facts", {})).items()
        }
        return BackboneInfo(
            name=self.name,
            recipe=recipe,
            top1=chosen.get("top1"),
            weight_mb=chosen.get("mb"),
            weights=tuple(weights),
            **known,
        )

    def published(
        self, weights: str, random_state: object = None
    ) -> WeightsFile | None:
        """Return the file called ``weights``, or None if there is no such name."""
        known = facts()[self.name]["weights"]
        name = next(iter(known), None) if weights == "default" else weights
        if name not in known:
            return None
        keys = known[name].keys() & {"file", "sha256", "package", "url"}
        where = {key: known[name][key] for key in keys}
        return WeightsFile(published=name, backbone=self.name, **where)

    def load(self, reference: BackboneRef) -> StagedNetwork:
        """Return the network with its weights."""
        from sktl.backbones._loading import build_with_weights

        weights = reference.weights
        random = isinstance(weights, RandomWeights)
        model = build_with_weights(
            weights,
            self.name,
            build=lambda: self.build(weights.published, random=random),
            cut=lambda model: self.cut(model, reference.info),
            translate=self._translate,
        )
        return self.cut(model, reference.info)

    def build(self, published: str | None = None, *, random: bool = False) -> nn.Module:
        """Build the whole network without weights, as these weights need it."""
        weights = facts()[self.name]["weights"]
        chosen = weights[published or next(iter(weights))] if weights else {}
        arguments = {} if random else chosen.get("build", {})
        return self._family.network(self.name, random=random, **arguments)

    def cut(self, model: nn.Module, info: BackboneInfo) -> StagedNetwork:
        """Return the stages of ``model``."""
        network = self._family.cut(model, info.stages)
        network.info = info
        return network

    def _translate(self, model: nn.Module, state: dict[str, Tensor]) -> dict:
        """Return the weights under today's keys."""
        rename = self._family.rename
        if rename is None:
            return state
        return {re.sub(*rename, key): value for key, value in state.items()}

    @property
    def _family(self) -> Family:
        from sktl.backbones._families import family_of

        return family_of(self.name)
