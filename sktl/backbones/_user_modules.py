"""The user's own networks: modules, or callables that build them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from types import CodeType
from typing import NamedTuple

import torch
from cachetools import LRUCache, cached
from torch import nn

from sktl.backbones._info import BackboneInfo
from sktl.backbones._layers import Copy, Mean
from sktl.backbones._loading import build_random, freeze, load_once, seeded
from sktl.backbones._reference import BackboneRef
from sktl.backbones._stage_finder import find_plan, layout_of
from sktl.backbones._staged import (
    Plan,
    StagedNetwork,
    carve,
    keep_activations,
    keep_inputs,
    measure,
    noise,
)
from sktl.backbones._state_dict import fit_state_dict, read_state_dict
from sktl.backbones._weights import RandomWeights, Weights, WeightsFile, seed_from
from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError
from sktl.images import Recipe

IMAGENET = Recipe((224, 224), 256)
# A network in which an attribute of these types changes is another network.
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class OwnWeights:
    """The weights that a module holds, or that a callable makes from a seed."""

    seed: int
    fingerprint: str = ""
    published = None


@dataclass(frozen=True)
class ModuleSource:
    """One of the user's own networks: a module, or a callable that returns one."""

    name: str
    make: nn.Module | Callable[[], nn.Module]
    stages: tuple[tuple[str, object], ...] | None = None
    recipe: Recipe = IMAGENET
    family: str | None = None
    year: int | None = None
    layout: str | None = None
    n_prefix_tokens: int = 0

    @classmethod
    def of(
        cls,
        backbone: nn.Module | Callable[[], nn.Module],
        *,
        name: str | None = None,
        stages: Mapping[str, object] | None = None,
        recipe: Recipe | None = None,
        **facts,
    ) -> ModuleSource:
        """Return the source of a module, a callable or a staged network."""
        if isinstance(backbone, StagedNetwork) and stages is None:
            stages = {stage: f"stages.{stage}" for stage in backbone.stages}
            recipe = recipe or backbone.info.recipe
            facts["layout"] = backbone.layout
            facts["n_prefix_tokens"] = backbone.n_prefix_tokens
        if isinstance(backbone, nn.Module):
            default = type(backbone).__name__
            # A copy: training the original further must not change what was fitted.
            backbone = keep_inputs(freeze(copy.deepcopy(backbone).cpu()))
        else:
            default = getattr(backbone, "__name__", type(backbone).__name__)
        pairs = None if stages is None else tuple(stages.items())
        return cls(name or default, backbone, pairs, recipe or IMAGENET, **facts)

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts, read off the network itself."""
        return self._description.info

    def published(self, weights: str, random_state: object = None) -> Weights | None:
        """Return the network's own weights, which are its ``"default"``."""
        if weights != "default":
            return None
        seed = 0 if random_state is None else seed_from(random_state)
        model = self._model(OwnWeights(seed))
        own = OwnWeights(seed, f"tensors:{hash_tensors(model)}")
        # It is built already: keep it for the first use.
        key = (self.name, own.fingerprint + self.structure)
        load_once(key, lambda: self._cut(model))
        return own

    @property
    def structure(self) -> str:
        """What a fingerprint says about the network besides its weights."""
        return self._structure(self._description.structure)

    def _structure(self, network: str) -> str:
        """Return a hash of a network's structure together with how it is cut."""
        plan = list(self._description.plan.items())
        cut = repr((network, plan, self._description.layout, self.n_prefix_tokens))
        return f":module-{hashlib.sha256(cut.encode()).hexdigest()}"

    def load(self, reference: BackboneRef) -> StagedNetwork:
        """Return the network with its weights."""
        weights = reference.weights
        model = self._model(weights)
        known = weights.fingerprint
        if isinstance(weights, OwnWeights):
            known = f"tensors:{hash_tensors(model)}"
        structure = self._structure(hash_structure(model))
        if reference.fingerprint != known + structure:
            raise WeightsMismatchError(
                f"The callable behind backbone {self.name!r} no longer returns the "
                "network that was fitted. Fit again, or make it return the same "
                "network each time."
            )
        if isinstance(weights, WeightsFile):
            path = weights.locate()
            state = read_state_dict(path)
            fit_state_dict(model, [self._cut(model)], state, self.name, path)
        return self._cut(model)

    def _model(self, weights: Weights) -> nn.Module:
        """Return a module that is not shared."""
        seed = getattr(weights, "seed", 0)
        if not isinstance(self.make, nn.Module):
            model = build_random(self.make, seed)
            if not isinstance(model, nn.Module):
                raise TypeError(
                    f"The callable {self.name!r} returned {type(model).__name__}, not "
                    "a torch.nn.Module."
                )
            return keep_inputs(freeze(model.cpu()))
        model = copy.deepcopy(self.make)
        if isinstance(weights, RandomWeights):
            with seeded(seed):
                _draw_again(model, self.name)
        return model

    def _cut(self, model: nn.Module) -> StagedNetwork:
        info, plan, layout, _ = self._description
        return StagedNetwork(carve(model, plan), info, layout, self.n_prefix_tokens)

    @property
    def _description(self) -> _Description:
        # Not a cached_property: up to Python 3.11 it has a lock, which would be taken
        # before that of _loading here, and after it when a network is loaded.
        known = self.__dict__.get("_known")
        if known is None:
            known = _describe(self, self._model(OwnWeights(0)))
            object.__setattr__(self, "_known", known)
        return known


class _Description(NamedTuple):
    """What running a network shows."""

    info: BackboneInfo
    plan: Plan
    layout: str
    structure: str


def _key(source: ModuleSource, model: nn.Module) -> tuple:
    asked = (source.name, source.recipe, source.family, source.year, source.layout)
    return (*asked, repr(source.stages), source.n_prefix_tokens, hash_structure(model))


# Clones share their structure.
@cached(LRUCache(256), key=_key, lock=Lock())
def _describe(source: ModuleSource, model: nn.Module) -> _Description:
    """Find the stages and the facts of a network by running it."""
    structure = hash_structure(model)  # before running can change anything
    recipe, x = source.recipe, noise(source.recipe)
    plan: Plan = dict(source.stages or ()) or find_plan(model, x)
    layout = source.layout or layout_of(carve(model, plan).values(), x)

    def cut() -> StagedNetwork:
        stages = carve(model, plan)
        return StagedNetwork(stages, None, layout, source.n_prefix_tokens).eval()

    network = cut()
    with torch.no_grad():
        end = network.run(x)
    positions = network.as_map(end).shape[2:]
    if len(positions) == 2 and positions != (1, 1) and "pool" not in plan:
        # An embedding says what is seen, not where: the mean over positions.
        if end.ndim == 3:
            plan["pool"] = Mean(1, n_prefix_tokens=source.n_prefix_tokens)
        else:
            plan["pool"] = Mean(1, 2) if layout == "nhwc" else Mean(2, 3)
        network = cut()
    info = BackboneInfo(
        name=source.name,
        family=source.family or type(model).__name__,
        year=source.year,
        source="module",
        task="classification",
        recipe=recipe,
        **measure(network, recipe),
    )
    keep_activations(network, recipe)
    for stage, module in network.stages.items():
        if isinstance(next(module.children(), None), Copy):
            pieces = plan[stage]
            listed = isinstance(pieces, (list, tuple))
            plan[stage] = [Copy(), *(pieces if listed else [pieces])]
    return _Description(info, plan, layout, structure)


def _draw_again(model: nn.Module, name: str) -> None:
    """Initialise every layer of a module again."""
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            raise WeightsUnavailableError(
                f"weights=None cannot draw new weights for backbone {name!r}: its "
                f"{type(module).__name__} has no reset_parameters. Pass a callable "
                "that builds the network."
            )
    freeze(model)


def hash_tensors(model: nn.Module) -> str:
    """Return a hash of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        numbers = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(numbers.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_structure(model: nn.Module) -> str:
    """Return a hash of layers, settings and code: what is computed, without weights."""
    digest = hashlib.sha256()
    kinds: dict[type, None] = {}
    for name, module in model.named_modules():
        settings = {
            key: value
            for key, value in sorted(vars(module).items())
            if key != "training" and _is_plain(value)
        }
        kind = type(module)
        text = f"{name}:{kind.__module__}.{kind.__qualname__}:{settings!r}"
        digest.update(text.encode())
        kinds |= dict.fromkeys(kind.__mro__)
    for kind in kinds:
        if kind is not object and not kind.__module__.startswith("torch."):
            for key, value in sorted(vars(kind).items()):
                function = getattr(value, "__func__", value)  # of a static method
                code = getattr(function, "__code__", None)
                if isinstance(code, CodeType):
                    digest.update(f"{key}:".encode())
                    _add_code(digest, code)
                elif _is_plain(value) and not key.startswith("__"):
                    digest.update(f"{key}={value!r}".encode())
    return digest.hexdigest()


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(isinstance(entry, _PLAIN) for entry in value)
    return isinstance(value, _PLAIN)


def _add_code(digest, code: CodeType) -> None:
    """Add what a function does; its place in the file does not matter."""
    digest.update(code.co_code)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(digest, constant)
        elif not isinstance(constant, frozenset):
            digest.update(repr(constant).encode())
