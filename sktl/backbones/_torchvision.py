"""The backbones of torchvision: a table of facts, and networks built on demand.

The table is made by ``python -m sktl.backbones._make_table`` and read without torch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import TYPE_CHECKING

from sktl.backbones._info import BackboneInfo
from sktl.backbones._weights import PublishedFile
from sktl.exceptions import MissingExtraError
from sktl.images import Recipe

if TYPE_CHECKING:
    from torch import nn

    from sktl.backbones._staged import StagedNetwork


@lru_cache
def table() -> dict[str, dict]:
    """Return the facts of every torchvision backbone by name."""
    return _file()["backbones"]


@lru_cache
def _file() -> dict:
    text = files("sktl.backbones").joinpath("_torchvision_table.json").read_text()
    return json.loads(text)


@dataclass(frozen=True)
class TorchvisionSource:
    """One network of torchvision."""

    name: str

    @property
    def _facts(self) -> dict:
        try:
            return table()[self.name]
        except KeyError:
            return _facts_of_newer(self.name)

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts, with the recipe of the weights called ``published``."""
        facts = self._facts
        names = tuple(facts["weights"])
        chosen = facts["weights"][published or names[0]]
        recipe = Recipe(**{**facts["recipe"], **chosen.get("recipe", {})})
        facts = {**facts, **chosen.get("facts", {})}
        return BackboneInfo(
            name=self.name,
            family=facts["family"],
            year=facts["year"],
            source="torchvision",
            task=facts["task"],
            stages=tuple(facts["stages"]),
            widths=tuple(facts["widths"]),
            recipe=recipe,
            n_features=facts["n_features"],
            n_parameters=facts["n_parameters"],
            gflops=facts["gflops"],
            top1=chosen["top1"],
            weight_mb=chosen["mb"],
            weights=names,
        )

    def published(self, weights: str) -> PublishedFile | None:
        """Return the file called ``weights``, or None if there is no such name."""
        known = self._facts["weights"]
        name = next(iter(known)) if weights == "default" else weights
        if name not in known:
            return None
        return PublishedFile(
            name, known[name]["file"], known[name]["url"], known[name]["prefix"]
        )

    def model(self, published: str | None, *, random: bool) -> nn.Module:
        """Build the whole network of torchvision, without weights."""
        models, family = _models(), self._family()
        arguments = {**family.build}
        arguments |= family.build_random if random else family.build_published
        if not random:
            chosen = self._facts["weights"][
                published or next(iter(self._facts["weights"]))
            ]
            arguments |= chosen.get("build", {})
        model = models.get_model(self.name, weights=None, **arguments)
        if family.frozen_norm is not None and not random:
            _freeze_norms(model, family.frozen_norm)
        return model

    def staged(self, model: nn.Module, info: BackboneInfo) -> StagedNetwork:
        """Cut ``model`` into the stages of its family."""
        from sktl.backbones._staged import StagedNetwork, carve

        family = self._family()
        plan = {name: family.plan(model)[name] for name in info.stages}
        return StagedNetwork(
            carve(model, plan), info, family.layout, family.n_prefix_tokens
        )

    def translate(self, model: nn.Module, state: dict) -> dict:
        """Return the weights under today's keys."""
        rename = self._family().rename
        if rename is None:
            return state
        return {re.sub(*rename, key): value for key, value in state.items()}

    def _family(self):
        from sktl.backbones._torchvision_families import family_of

        return family_of(self.name)


def _models():
    """Return ``torchvision.models``, or say how to repair an installation."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        # A torchvision built for another torch fails with "operator
        # torchvision::nms does not exist", a RuntimeError.
        raise MissingExtraError(
            f"torchvision could not be imported ({error}). Its version has to belong "
            "to the installed torch: reinstall both from one index, on a machine "
            "without a GPU with: pip install torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu"
        ) from error
    return models


def _freeze_norms(model: nn.Module, eps: float) -> None:
    """Replace every BatchNorm by one whose statistics and scale never change."""
    from torch import nn
    from torchvision.ops import FrozenBatchNorm2d

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=eps))


def find(name: str) -> TorchvisionSource | None:
    """Return the source of ``name``, or None if torchvision has no such network."""
    if name in table() or _facts_of_newer(name) is not None:
        return TorchvisionSource(name)
    return None


@lru_cache
def _facts_of_newer(name: str) -> dict | None:
    """Return the facts of a network that came after the table was made."""
    try:
        installed = version("torchvision")
    except PackageNotFoundError:
        return None
    if _release(installed) <= _release(_file()["torchvision"]):
        return None
    from sktl.backbones._make_table import facts_of
    from sktl.backbones._torchvision_families import family_of

    if family_of(name) is None or name not in _models().list_models():
        return None
    return facts_of(name)


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2])
