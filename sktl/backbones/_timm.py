"""The backbones of timm, named ``timm/<name>``: found, cut and checked on demand."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from sktl._extras import import_extra
from sktl.backbones._info import BackboneInfo
from sktl.backbones._weights import sha256
from sktl.exceptions import (
    BackboneNotFoundError,
    WeightsMismatchError,
    WeightsUnavailableError,
)
from sktl.images import Recipe

if TYPE_CHECKING:
    from torch import nn

    from sktl.backbones._staged import StagedNetwork

PREFIX = "timm/"


def _timm():
    return import_extra("timm", "timm", "A backbone named 'timm/...'")


def names(family: str | None = None) -> list[str]:
    """Return all names of timm, of one family (a module of timm) if asked for."""
    return [PREFIX + name for name in _timm().list_models(module=family or "")]


def find(name: str) -> TimmSource:
    """Return the source of ``timm/<name>``."""
    timm, short = _timm(), name.removeprefix(PREFIX)
    if not timm.is_model(short):
        known = timm.list_models()
        close = difflib.get_close_matches(short.partition(".")[0], known, n=3)
        hint = f" Did you mean {' or '.join(repr(PREFIX + c) for c in close)}?"
        raise BackboneNotFoundError(
            f"timm has no model {short!r}.{hint if close else ''} "
            "sktl.list_backbones(source='timm') lists all names."
        )
    return TimmSource(name)


@dataclass(frozen=True)
class TimmWeights:
    """The published weights of a timm model, in a file on this machine."""

    published: str
    path: str
    digest: str

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the file."""
        return f"sha256:{self.digest}"

    def fetch(self, name: str) -> None:
        """Do nothing: the file was fetched when it was found."""

    def locate(self) -> Path:
        """Return the path of the file, after checking that it is still the same."""
        path = Path(self.path)
        if not path.is_file():
            raise WeightsUnavailableError(
                f"The weights file {self.path!r} is not there. Resolve the backbone "
                "again to download it."
            )
        if sha256(path) != self.digest:
            raise WeightsMismatchError(
                f"The weights file {self.path!r} has changed since it was downloaded. "
                "Delete it, so that it is downloaded again."
            )
        return path


@dataclass(frozen=True)
class TimmSource:
    """One network of timm, cut by watching it run."""

    name: str

    @property
    def _short(self) -> str:
        return self.name.removeprefix(PREFIX)

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts, read off the network itself."""
        return _described(self.name, published)[0]

    def published(self, weights: str) -> TimmWeights | None:
        """Return the file called ``weights``, fetched, or None if there is none."""
        tags = _tags(self._short)
        tag = tags[0] if weights == "default" and tags else weights
        if tag not in tags:
            return None
        path = _fetch(self.name, _config(self._short, tag))
        return TimmWeights(tag, str(path), sha256(path))

    def model(self, published: str | None, *, random: bool) -> nn.Module:
        """Build the network without weights and without its classifier's."""
        from sktl.backbones._walk import keep_inputs

        return keep_inputs(_create(self._short, published))

    def staged(self, model: nn.Module, info: BackboneInfo) -> StagedNetwork:
        """Cut ``model`` into stages."""
        from sktl.backbones._staged import StagedNetwork, carve

        plan = _described(self.name)[1]
        return StagedNetwork(carve(model, plan), info, *_layout(model))

    def check(self, model: nn.Module, network: StagedNetwork) -> None:
        """Raise unless the stages give the numbers of timm."""
        from sktl.backbones._staged import check_cut

        check_cut(network, lambda x: _embed(model, x))

    def translate(self, model: nn.Module, state: dict) -> dict:
        """Return the weights under timm's keys, where timm knows how they were."""
        import sys

        module = sys.modules[type(model).__module__]
        translate = getattr(module, "checkpoint_filter_fn", None)
        if translate is None or state.keys() >= dict(model.named_parameters()).keys():
            return state
        return translate(state, model)


def _create(short: str, tag: str | None) -> nn.Module:
    name = short.partition(".")[0]
    return _timm().create_model(f"{name}.{tag}" if tag else name, pretrained=False)


def _tags(short: str) -> tuple[str, ...]:
    """Return the names of published weights, the default first."""
    name, _, tag = short.partition(".")
    listed = _timm().list_pretrained(f"{name}.*") or []
    tags = [entry.partition(".")[2] for entry in listed]
    tags = [entry for entry in tags if entry]
    default = tag or _config(name, None).tag
    if default in tags:
        tags.remove(default)
        tags.insert(0, default)
    return tuple(tags)


def _config(short: str, tag: str | None):
    name, _, own = short.partition(".")
    tag = tag or own
    return _timm().get_pretrained_cfg(f"{name}.{tag}" if tag else name)


def _fetch(name: str, config) -> Path:
    """Return the file of a published configuration, downloaded if need be."""
    from sktl.backbones._download import download
    from sktl.backbones._weights import download_folder

    try:
        if config.hf_hub_id:
            hub = import_extra("huggingface_hub", "timm", "Weights of timm")
            return Path(_fetch_from_hub(hub, config))
        path = download_folder() / Path(config.url).name
        if not path.is_file():
            prefix = path.stem.rpartition("-")[2]
            is_hash = len(prefix) >= 8 and set(prefix) <= set("0123456789abcdef")
            download(config.url, path, prefix if is_hash else "")
        return path
    except OSError as error:
        source = config.hf_hub_id or config.url
        raise WeightsUnavailableError(
            f"The weights {config.tag!r} of backbone {name!r} are not on this machine "
            f"and could not be downloaded from {source} ({error}). Fetch them on a "
            "machine with a network and pass weights=<path of the file>. Without them: "
            "backbone='pocket' or 'lenet5' (weights inside the package), or "
            "weights=None (random)."
        ) from error


def _fetch_from_hub(hub, config) -> str:
    """Return the file in the cache of the hub, safetensors where there are any."""
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
def _described(name: str, published: str | None = None) -> tuple[BackboneInfo, dict]:
    """Return the facts and the plan of a network, found without its weights."""
    from sktl.backbones._build import build_empty, build_random
    from sktl.backbones._describe import describe
    from sktl.backbones._staged import StagedNetwork, carve

    short = name.removeprefix(PREFIX)
    tags = _tags(short)
    tag = published or (tags[0] if tags else None)
    recipe = _recipe(_config(short, tag))
    build = partial(TimmSource(name).model, tag, random=False)
    model = build_empty(build).eval().to("meta")
    try:
        plan = _plan(model, recipe)
    except (NotImplementedError, RuntimeError):
        plan = None
    if plan is None or len(plan) < 4:
        # With numbers, the functions between two modules can be recognised.
        model = build_random(build, 0).eval()
        plan = _plan(model, recipe)
    network = StagedNetwork(carve(model, plan), None, *_layout(model)).eval()
    facts = describe(network, recipe.size, recipe.channels)
    info = BackboneInfo(
        name=name,
        family=type(model).__name__,
        year=None,
        source="timm",
        task="classification",
        stages=tuple(facts["stages"]),
        widths=tuple(facts["widths"]),
        recipe=recipe,
        n_features=facts["n_features"],
        n_parameters=facts["n_parameters"],
        gflops=facts["gflops"],
        weights=tags,
    )
    return info, plan


def _recipe(config) -> Recipe:
    """Return the evaluation transform that timm would make of a configuration."""
    channels, height, width = config.input_size
    size = (height, width)
    # As timm does it: rounded down, and "squash" stretches without a crop.
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
    layout = {"NHWC": "nhwc"}.get(str(getattr(model, "output_fmt", "NCHW")), "nchw")
    prefix = getattr(model, "num_prefix_tokens", 0)
    if hasattr(model, "patch_embed") and prefix:
        return "tokens", prefix
    return layout, 0


def _plan(model: nn.Module, recipe: Recipe) -> dict:
    """Return the stages: what ``forward_features`` does, then the pooling."""
    import torch

    from sktl.backbones._part import Part
    from sktl.backbones._walk import called_by, find_plan

    device = next(model.parameters()).device
    generator = None if device.type == "meta" else torch.Generator().manual_seed(0)
    shape = (1, recipe.channels, *recipe.size)
    x = torch.rand(*shape, device=device, generator=generator)
    try:
        plan = find_plan(model, x, "forward_features", drop_classifier=False)
    except TypeError:
        # Networks with several streams pass on lists: they stay in one piece.
        whole = Part(
            ("forward_features", "forward_head"),
            without=tuple(_classifiers(model)),
            options=(("pre_logits", True),),
        )
        return {"stage1": [whole]}
    body = called_by(model, "forward_features", x)
    head = Part(
        ("forward_head",),
        without=(*body, *_classifiers(model)),
        options=(("pre_logits", True),),
        keep_parameters=False,
    )
    pool = [*plan.pop("pool", []), head]
    return {**plan, "pool": pool}


def _embed(model: nn.Module, x):
    return model.forward_head(model.forward_features(x), pre_logits=True)


def _classifiers(model: nn.Module) -> list[str]:
    names = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    names = [names] if isinstance(names, str) else names
    known = dict(model.named_modules())
    return [name for name in names if name in known]
