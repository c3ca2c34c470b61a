"""Networks of the user's own, as they are or from a callable that builds them."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

import torch
from torch import nn

from sktl.backbones import _build
from sktl.backbones._describe import describe
from sktl.backbones._info import BackboneInfo
from sktl.backbones._layers import Copy, MapMean
from sktl.backbones._loaded import LOADED
from sktl.backbones._staged import StagedNetwork, carve, keep_activations, noise
from sktl.backbones._state_dict import fit_state_dict, read_state_dict
from sktl.backbones._walk import find_plan, keep_inputs, layout_of
from sktl.backbones._weights import RandomWeights, WeightsFile, seed_from
from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError
from sktl.images import Recipe

if TYPE_CHECKING:
    from sktl.backbones._reference import BackboneRef

IMAGENET = Recipe((224, 224), 256)
# What is known of networks of the same structure, which clones have in common.
_DESCRIBED: dict[tuple, tuple[BackboneInfo, dict, str]] = {}
_DESCRIBED_LOCK = threading.Lock()
# A network that changes with these is another network.
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class OwnWeights:
    """The weights that a module holds, or that a callable makes from a seed."""

    seed: int
    published = None


@dataclass(frozen=True)
class ModuleSource:
    """One network of the user's.

    ``make`` is the module itself, or a callable that returns one.
    """

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
        **facts: object,
    ) -> ModuleSource:
        """Return the source of a module, a callable or a staged network."""
        if isinstance(backbone, StagedNetwork) and stages is None:
            stages = {stage: f"stages.{stage}" for stage in backbone.stages}
            recipe = recipe or backbone.info.recipe
            facts |= {
                "layout": backbone.layout,
                "n_prefix_tokens": backbone.n_prefix_tokens,
            }
        if isinstance(backbone, nn.Module):
            # A copy: training the original goes on without changing what was fitted.
            make: object = _build.freeze(copy.deepcopy(backbone).cpu())
            default = type(backbone).__name__
        else:
            make = backbone
            default = getattr(backbone, "__name__", type(backbone).__name__)
        pairs = None if stages is None else tuple(stages.items())
        return cls(name or default, make, pairs, recipe or IMAGENET, **facts)

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts, read off the network itself."""
        return self._described[0]

    def resolve(self, weights, random_state) -> BackboneRef:
        """Return a reference to this network with particular weights."""
        from sktl.backbones._reference import BackboneRef

        chosen: OwnWeights | RandomWeights | WeightsFile
        if weights is None:
            chosen = RandomWeights(seed_from(random_state))
        elif isinstance(weights, str) and weights == "default":
            chosen = OwnWeights(0 if random_state is None else seed_from(random_state))
        else:
            chosen = WeightsFile.at(weights, name=self.name)
        info = self._described[0]
        model = self._model(OwnWeights(getattr(chosen, "seed", 0)))
        fingerprint = self._fingerprint(model, chosen)
        reference = BackboneRef(self.name, info, fingerprint, self, chosen)
        if isinstance(chosen, OwnWeights):
            # It is built already: keep it for the first use.
            key = (self.name, fingerprint)
            LOADED.get(key, lambda: _build.freeze(self._staged(model, info)))
        return reference

    def load(self, info: BackboneInfo, weights, fingerprint: str) -> StagedNetwork:
        """Return the network with its weights, checked against its fingerprint."""
        model = self._model(weights)
        if isinstance(weights, WeightsFile):
            path = Path(weights.locate())
            trunk = [self._staged(model, info)]
            state = read_state_dict(path)
            fit_state_dict(model, trunk, state, name=self.name, path=path)
        elif fingerprint != self._fingerprint(model, weights):
            raise WeightsMismatchError(
                f"The callable behind backbone {self.name!r} no longer returns the "
                "network that was fitted. Fit again, or let it return the same "
                "network each time."
            )
        return self._staged(model, info)

    def _fingerprint(self, model: nn.Module, weights) -> str:
        plan = self._described[1]
        if isinstance(weights, OwnWeights):
            return f"module:{digest_of(model, plan)}"
        structure = digest_of(model, plan, weights=False)
        return f"{weights.fingerprint}:module-{structure}"

    def _model(self, weights) -> nn.Module:
        """Return a module that nobody else holds."""
        seed = getattr(weights, "seed", 0)
        if not isinstance(self.make, nn.Module):
            model = _build.build_random(self.make, seed)
            if not isinstance(model, nn.Module):
                raise TypeError(
                    f"The callable {self.name!r} returned {type(model).__name__}, not "
                    "a torch.nn.Module."
                )
            return keep_inputs(_build.freeze(model.cpu()))
        model = copy.deepcopy(self.make)
        if isinstance(weights, RandomWeights):
            with _build.seeded(seed):
                _draw_again(model, self.name)
        return keep_inputs(model)

    def _staged(self, model: nn.Module, info: BackboneInfo) -> StagedNetwork:
        _, plan, layout = self._described
        return StagedNetwork(carve(model, plan), info, layout, self.n_prefix_tokens)

    @cached_property
    def _described(self) -> tuple[BackboneInfo, dict, str]:
        """Return the facts, the plan and the layout, from running the network."""
        model = self._model(OwnWeights(0))
        structure = digest_of(model, dict(self.stages or ()), weights=False)
        facts = (self.name, self.recipe, self.family, self.year, self.layout)
        key = (*facts, self.n_prefix_tokens, structure)
        with _DESCRIBED_LOCK:
            known = _DESCRIBED.get(key)
        if known is None:
            known = self._describe(model)
            with _DESCRIBED_LOCK:
                _DESCRIBED[key] = known
        return known

    def _describe(self, model: nn.Module) -> tuple[BackboneInfo, dict, str]:
        if self.stages is None:
            plan = find_plan(model, noise(self.recipe))
        else:
            plan = dict(self.stages)
        layout = self.layout or layout_of(
            carve(model, plan).values(), noise(self.recipe)
        )
        network = StagedNetwork(carve(model, plan), None, layout, self.n_prefix_tokens)
        with torch.no_grad():
            end = network.as_map(network.eval().run(noise(self.recipe)))
        if end.ndim == 4 and end.shape[2:] != (1, 1) and "pool" not in plan:
            # An embedding says what is seen, not where: the mean over the places.
            plan["pool"] = [MapMean(layout, self.n_prefix_tokens)]
            stages = carve(model, plan)
            network = StagedNetwork(stages, None, layout, self.n_prefix_tokens)
        facts = describe(network.eval(), self.recipe.size, self.recipe.channels)
        info = BackboneInfo(
            name=self.name,
            family=self.family or type(model).__name__,
            year=self.year,
            source="module",
            task="classification",
            stages=tuple(facts["stages"]),
            widths=tuple(facts["widths"]),
            recipe=self.recipe,
            n_features=facts["n_features"],
            n_parameters=facts["n_parameters"],
            gflops=facts["gflops"],
        )
        network.info = info
        keep_activations(network)
        for stage, module in network.stages.items():
            if isinstance(module, nn.Sequential) and isinstance(module[0], Copy):
                plan[stage] = [Copy(), *_as_list(plan[stage])]
        return info, plan, layout


def _as_list(pieces: object) -> list:
    return list(pieces) if isinstance(pieces, (list, tuple)) else [pieces]


def _draw_again(model: nn.Module, name: str) -> None:
    """Initialise every layer of a module anew."""
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise WeightsUnavailableError(
                f"weights=None cannot draw new weights for backbone {name!r}: its "
                f"{type(module).__name__} has no reset_parameters. Pass a callable "
                "that builds the network."
            )
    _build.freeze(model)


def digest_of(model: nn.Module, plan: Mapping, *, weights: bool = True) -> str:
    """Return a hash of what a network computes: structure, code, settings, weights."""
    digest = hashlib.sha256()
    digest.update(repr([(k, repr(v)) for k, v in plan.items()]).encode())
    seen: set[type] = set()
    for name, module in model.named_modules():
        kind = type(module)
        settings = {
            key: value
            for key, value in sorted(vars(module).items())
            if isinstance(value, _PLAIN) or _is_plain_tuple(value)
        }
        settings.pop("training", None)
        text = f"{name}:{kind.__module__}.{kind.__qualname__}:{settings!r}"
        digest.update(text.encode())
        if kind not in seen and not kind.__module__.startswith("torch."):
            seen.add(kind)
            for base in kind.__mro__:
                if base is nn.Module:
                    break
                for key, value in sorted(vars(base).items()):
                    code = getattr(value, "__code__", None)
                    if code is not None:
                        digest.update(f"{key}:".encode())
                        _update_with_code(digest, code)
    if weights:
        tensors = (*model.named_parameters(), *model.named_buffers())
        for name, tensor in tensors:
            array = tensor.detach().cpu().contiguous()
            digest.update(f"{name}:{array.dtype}:{tuple(array.shape)}".encode())
            digest.update(array.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _is_plain_tuple(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(
        isinstance(v, _PLAIN) for v in value
    )


def _update_with_code(digest, code: CodeType) -> None:
    """Add what a function does; where it stands in its file does not matter."""
    digest.update(code.co_code)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _update_with_code(digest, constant)
        elif not isinstance(constant, frozenset):
            digest.update(repr(constant).encode())
