"""The backbones of timm, named ``timm/<name>``: found, cut and checked on demand."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from sktl._extras import import_extra
from sktl.backbones._info import BackboneInfo
from sktl.backbones._loading import (
    build_empty,
    build_random,
    build_with_weights,
    freeze,
)
from sktl.backbones._reference import BackboneRef
from sktl.backbones._stage_finder import Part, called_by, find_plan
from sktl.backbones._staged import (
    Plan,
    StagedNetwork,
    carve,
    check_cut,
    keep_inputs,
    measure,
)
from sktl.backbones._weights import WITHOUT, WeightsFile
from sktl.exceptions import WeightsUnavailableError
from sktl.images import Recipe

PREFIX = "timm/"


def _timm() -> ModuleType:
    return import_extra("timm", "timm", "A backbone named 'timm/...'")


def names(family: str | None = None) -> list[str]:
    """Return all names of timm, or those of one family (a module of timm)."""
    return [PREFIX + name for name in _timm().list_models(module=family or "")]


def has(name: str) -> bool:
    """Tell whether timm has the model called ``timm/<name>``."""
    return _timm().is_model(name.removeprefix(PREFIX))


@dataclass(frozen=True)
class TimmSource:
    """One network of timm, cut by watching it run."""

    name: str
    structure = ""

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts, read off the network itself."""
        return _described(self.name, published)[0]

    def published(
        self, weights: str, random_state: object = None
    ) -> WeightsFile | None:
        """Return the file called ``weights``, downloaded, or None if there is none."""
        tags = _tags(self.name)
        tag = tags[0] if weights == "default" and tags else weights
        if tag not in tags:
            return None
        return WeightsFile.at(_fetch(self.name, tag), self.name, tag)

    def load(self, reference: BackboneRef) -> StagedNetwork:
        """Return the network with its weights, its cut checked."""
        weights, info = reference.weights, reference.info
        model = build_with_weights(
            weights,
            self.name,
            build=lambda: self.build(weights.published),
            cut=lambda model: self.cut(model, info),
            translate=_translate,
        )
        network = freeze(self.cut(model, info))
        freeze(model)
        check_cut(network, lambda x: _embed(model, x))
        return network

    def build(self, published: str | None = None) -> nn.Module:
        """Build the whole network without weights."""
        name = self.name.removeprefix(PREFIX).partition(".")[0]
        tagged = f"{name}.{published}" if published else name
        return keep_inputs(_timm().create_model(tagged, pretrained=False))

    def cut(self, model: nn.Module, info: BackboneInfo) -> StagedNetwork:
        """Return the stages of ``model``."""
        return StagedNetwork(
            carve(model, _described(self.name)[1]), info, *_layout(model)
        )


def _translate(model: nn.Module, state: dict[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the weights under timm's current keys, if it can translate old ones."""
    module = sys.modules[type(model).__module__]
    translate = getattr(module, "checkpoint_filter_fn", None)
    if translate is None or state.keys() >= dict(model.named_parameters()).keys():
        return state
    return translate(state, model)


def _embed(model: Any, x: Tensor) -> Tensor:
    return model.forward_head(model.forward_features(x), pre_logits=True)


def _config(name: str, tag: str | None = None):
    """Return timm's configuration of published weights, by default as named."""
    name, _, own = name.removeprefix(PREFIX).partition(".")
    tag = tag or own
    return _timm().get_pretrained_cfg(f"{name}.{tag}" if tag else name)


def _tags(name: str) -> tuple[str, ...]:
    """Return the names of published weights, the default first."""
    short = name.removeprefix(PREFIX).partition(".")[0]
    listed = _timm().list_pretrained(f"{short}.*") or []
    tags = [tag for tag in (entry.partition(".")[2] for entry in listed) if tag]
    default = _config(name).tag
    return tuple(sorted(tags, key=lambda tag: tag != default))


def _fetch(name: str, tag: str) -> Path:
    """Return the file of published weights, downloaded if need be."""
    config = _config(name, tag)
    if not config.hf_hub_id:
        file = Path(config.url).name
        hashed = re.search(r"-([0-9a-f]{8,})\.", file)
        begins = hashed[1] if hashed else ""
        return WeightsFile(file, begins, tag, url=config.url).find()
    try:
        hub = import_extra("huggingface_hub", "timm", "Weights of timm")
        return Path(_fetch_from_hub(hub, config))
    except OSError as error:
        raise WeightsUnavailableError(
            f"The weights {tag!r} of backbone {name!r} are not on this machine and "
            f"could not be downloaded from {config.hf_hub_id} ({error}). Fetch them on "
            f"a machine that is online and pass weights=<path of the file>. {WITHOUT}"
        ) from error


def _fetch_from_hub(hub: ModuleType, config) -> str:
    """Return the file in the cache of the hub, safetensors if available."""
    repository, _, revision = config.hf_hub_id.partition("@")
    files = [config.hf_hub_filename] if config.hf_hub_filename else []
    files += ["model.safetensors", "pytorch_model.bin"]
    missing = None
    for file in files:
        try:
            return hub.hf_hub_download(repository, file, revision=revision or None)
        except hub.errors.EntryNotFoundError as error:
            missing = error
        except (hub.errors.HfHubHTTPError, ValueError) as error:
            raise OSError(str(error).splitlines()[0]) from error
    raise OSError(f"{repository} has none of {', '.join(files)}") from missing


@lru_cache(maxsize=256)
def _described(name: str, published: str | None = None) -> tuple[BackboneInfo, Plan]:
    """Return the facts and the plan of a network, found without its weights."""
    tags = _tags(name)
    tag = published or (tags[0] if tags else None)
    recipe = _recipe(_config(name, tag))

    def build() -> nn.Module:
        return TimmSource(name).build(tag)

    model = build_empty(build).eval().to("meta")
    try:
        plan = _plan(model, recipe)
    except (NotImplementedError, RuntimeError):
        plan = {}
    if len(plan) < 4:
        # With numbers, the functions between two modules can be recognised.
        model = build_random(build, 0).eval()
        plan = _plan(model, recipe)
    layout, n_prefix_tokens = _layout(model)
    network = StagedNetwork(
        carve(model, plan), layout=layout, n_prefix_tokens=n_prefix_tokens
    )
    info = BackboneInfo(
        name=name,
        family=type(model).__name__,
        year=None,
        source="timm",
        task="classification",
        recipe=recipe,
        weights=tags,
        **measure(network.eval(), recipe),
    )
    return info, plan


def _recipe(config) -> Recipe:
    """Return the evaluation transform that timm would make from a configuration."""
    channels, height, width = config.input_size
    size = (height, width)
    # As in timm: rounded down, and "squash" stretches without a crop.
    squash = config.crop_mode == "squash"
    resize = None if squash else math.floor(min(size) / config.crop_pct)
    interpolation = config.interpolation
    return Recipe(
        size,
        resize,
        "bilinear" if interpolation == "random" else interpolation,
        channels=channels,
        mean=config.mean,
        std=config.std,
    )


def _layout(model: nn.Module) -> tuple[str, int]:
    prefix = getattr(model, "num_prefix_tokens", 0)
    if hasattr(model, "patch_embed") and prefix:
        return "tokens", prefix
    return ("nhwc" if getattr(model, "output_fmt", "") == "NHWC" else "nchw"), 0


def _plan(model: nn.Module, recipe: Recipe) -> Plan:
    """Return the stages: what ``forward_features`` does, then the pooling."""
    device = next(model.parameters()).device
    generator = None if device.type == "meta" else torch.Generator().manual_seed(0)
    shape = (1, recipe.channels, *recipe.size)
    x = torch.rand(*shape, device=device, generator=generator)
    options = (("pre_logits", True),)
    try:
        plan = find_plan(model, x, "forward_features", drop_classifier=False)
    except TypeError:
        # Networks with several streams pass on lists: they stay in one piece.
        methods = ("forward_features", "forward_head")
        return {"stage1": Part(methods, without=_classifiers(model), options=options)}
    body = called_by(model, "forward_features", x)
    head = Part(
        ("forward_head",),
        without=(*body, *_classifiers(model)),
        options=options,
        keep_parameters=False,
    )
    pool = [*plan.pop("pool", []), head]
    return {**plan, "pool": pool}


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    names = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    names = (names,) if isinstance(names, str) else names
    known = dict(model.named_modules())
    return tuple(name for name in names if name in known)
