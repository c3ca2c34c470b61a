"""Find the stages of a network without a description, by watching it run.

An image goes through the network and the calls of its children are recorded. If each
child takes what the one before it returned, their composition is the network by
construction. Small functions between two children (a ReLU, a flatten, a global mean)
are guessed from a short list and kept if they give the same numbers. What comes before
the last gap that cannot be explained stays in one piece, the stem.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sktl.backbones._layers import ClassToken, Mean, Permute

MOST_STAGES = 8


@dataclass(frozen=True)
class Part:
    """The beginning of what a network does, or all of it, as a piece of a plan.

    It runs ``methods``, the last one with ``options``, and stops before the submodule
    ``end``. The submodules in ``without`` are left out, and unless ``keep_parameters``,
    so are the parameters that the network itself holds.
    """

    methods: tuple[str, ...] = ("forward",)
    end: str | None = None
    without: tuple[str, ...] = ()
    options: tuple[tuple[str, object], ...] = ()
    keep_parameters: bool = True

    def __call__(self, network: nn.Module) -> nn.Module:
        """Return the part of ``network`` as a module that shares its tensors."""
        # Objects in the memo are not copied.
        memo: dict[int, Any] = {
            id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())
        }
        for path in self.without:
            memo[id(network.get_submodule(path))] = nn.Identity()
        if self.end is not None:
            memo[id(network.get_submodule(self.end))] = _End()
        twin = copy.deepcopy(network, memo)
        if not self.keep_parameters:
            twin._parameters = {}
        return _PartRunning(twin, self.methods, dict(self.options))


class _PartRunning(nn.Module):
    """The module that a part returns."""

    def __init__(self, network: nn.Module, methods: tuple[str, ...], options: dict):
        super().__init__()
        self.network = network
        self.methods = methods
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        *first, last = self.methods
        try:
            for method in first:
                x = getattr(self.network, method)(x)
            return getattr(self.network, last)(x, **self.options)
        except _Reached as reached:
            return reached.args[0]


class _Reached(Exception):  # noqa: N818 - it reports an arrival
    """Carries the tensor that reached the end of a part."""


class _End(nn.Module):
    """Where a part ends."""

    def forward(self, x: Tensor) -> Tensor:
        raise _Reached(x)


class Value:
    """A tensor as it was when it was passed on, whatever happens to it later."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor
        self.version = tensor._version
        self.numbers = tensor if tensor.is_meta else tensor.clone()
        self.shape = tensor.shape
        # No positions left, only features.
        self.is_flat = tensor.ndim == 2 or tensor.shape[2:] == (1, 1)
        # Pixels or tokens. Good enough to compare the resolution of two stages: if
        # channels come last, they change with the resolution too.
        self.n_positions = math.prod(
            tensor.shape[2:] if tensor.ndim == 4 else tensor.shape[1:2]
        )

    def is_same(self, other: Value) -> bool:
        """Tell whether this is the same tensor, unchanged in between."""
        return self.tensor is other.tensor and self.version == other.version


@dataclass
class Call:
    """One step of the network: a module, what it was given and what it returned.

    ``x`` and ``y`` are a ``Value``, or None where that was not a single tensor.
    """

    module: Any
    x: Any
    y: Any = None
    inner: list[Call] = field(default_factory=list)

    @property
    def is_block(self) -> bool:
        """Tell whether this is more than a single layer."""
        # A norm with its activation has children too, but no weights in them.
        return any(
            next(c.parameters(), None) is not None for c in self.module.children()
        )


def _value(thing: object) -> Value | None:
    return Value(thing) if isinstance(thing, Tensor) else None


def record(network: nn.Module, method: str, x: Tensor) -> Call:
    """Return the run of ``method`` on ``x`` as a tree of calls."""
    root = Call(network, Value(x))
    stack = [root]

    def enter(module, arguments, options):
        given = [*arguments, *options.values()]
        # A module that takes more than one tensor cannot be part of a chain.
        alone = given and all(value is None for value in given[1:])
        call = Call(module, _value(given[0]) if alone else None)
        stack[-1].inner.append(call)
        stack.append(call)

    def leave(module, arguments, options, result):
        stack.pop().y = _value(result)

    handles = []
    for module in network.modules():
        if module is not network:
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
    try:
        with torch.no_grad():
            result = getattr(network, method)(x)
    finally:
        for handle in handles:
            handle.remove()
    root.y = _value(result)
    if root.y is None:
        raise TypeError(
            f"{type(network).__name__} returns {type(result).__name__}, not a tensor. "
            "Say which modules make up its embedding: "
            "sktl.register_backbone(name, network, stages={...})."
        )
    return root


def find_plan(
    network: nn.Module,
    x: Tensor,
    method: str = "forward",
    *,
    drop_classifier: bool = True,
) -> dict[str, list]:
    """Return the stages of ``network`` on images like ``x``, as a plan for ``carve``.

    With ``drop_classifier``, a linear layer at the end is the classifier and is left
    out.
    """
    root = record(network, method, x)
    calls, whole = chain_of(root)
    names: dict = {module: name for name, module in network.named_modules()}
    last = names.get(calls[0].module) if calls else None
    if drop_classifier:
        calls = _without_classifier(calls)
    if not calls:
        # Nothing to cut: all of it, or all that comes before the classifier.
        return {"stage1": [Part((method,), last, (last,) if last else ())]}
    groups = group(open_blocks(calls))
    if not whole:
        modules = [call.module for call in root.inner]
        first = calls[0].module
        later = modules[modules.index(first) + 1 :]
        stem = Part((method,), names[first], tuple(names[module] for module in later))
        names[stem] = stem
        beginning = Call(stem, root.x, calls[0].x)
        if any(call.is_block for call in groups[0]):
            groups.insert(0, [beginning])
        else:
            groups[0].insert(0, beginning)
    return {
        stage: [names.get(call.module, call.module) for call in calls]
        for stage, calls in zip(_stage_names(groups), groups, strict=True)
    }


def chain_of(call: Call) -> tuple[list[Call], bool]:
    """Return the longest chain of inner calls that ends where ``call`` ends.

    The flag tells whether the chain also starts where ``call`` starts.
    """
    chain: list[Call] = []
    target = call.y
    for inner in reversed(call.inner):
        between = _between(inner.y, target) if inner.x else None
        if between is None:
            return chain, False
        chain[:0] = [inner, *between]
        target = inner.x
    between = _between(call.x, target) if call.inner else None
    return (chain, False) if between is None else ([*between, *chain], True)


def _between(a: Value | None, b: Value | None) -> list[Call] | None:
    """Return the function that leads from ``a`` to ``b``; [] if they are the same."""
    if a is None or b is None:
        return None
    if a.is_same(b):
        return []
    if not (a.tensor.is_floating_point() and b.tensor.is_floating_point()):
        return None
    if a.tensor.is_meta or b.tensor.is_meta:
        return None
    for layer in _candidates(a.shape, b.shape):
        with torch.no_grad():
            found = layer(a.numbers)
        if found.shape == b.shape and torch.allclose(found, b.numbers, 1e-5, 1e-6):
            return [Call(layer, a, b)]
    return None


def _candidates(a: torch.Size, b: torch.Size) -> list[nn.Module]:
    """Return the layers that could lead from shape ``a`` to shape ``b``."""
    if a == b:
        activations = [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Tanh()]
        return [nn.Identity(), *activations]
    layers: list[nn.Module] = []
    if (len(a), len(b)) == (4, 2):
        maximum = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
        layers = [nn.Flatten(), Mean(2, 3), maximum]
    elif (len(a), len(b)) == (4, 3):
        layers = [nn.Sequential(nn.Flatten(2), Permute(0, 2, 1))]
    elif (len(a), len(b)) == (3, 2):
        layers = [ClassToken(), Mean(1), nn.Flatten()]
    elif (len(a), len(b)) == (4, 4) and b[2:] == (1, 1):
        layers = [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)]
    elif (len(a), len(b)) == (4, 4) and a.numel() == b.numel():
        layers = [Permute(0, 2, 3, 1), Permute(0, 3, 1, 2)]
    elif (len(a), len(b)) == (4, 4) and a[:2] == b[:2]:
        layers = [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2)]
    first = [nn.Sequential(nn.ReLU(), layer) for layer in layers]
    last = [nn.Sequential(layer, nn.ReLU()) for layer in layers]
    return [*layers, *first, *last]


def _without_classifier(calls: list[Call]) -> list[Call]:
    """Return the calls without the linear layer at their end, if there is one."""
    quiet = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.Dropout, nn.Identity)
    end = len(calls)
    while end and isinstance(calls[end - 1].module, quiet):
        end -= 1
    if not end:
        return calls
    last = calls[end - 1]
    if isinstance(last.module, nn.Linear):
        return calls[: end - 1]
    if last.inner and len(last.y.shape) == 2:
        inner, whole = chain_of(last)
        shorter = _without_classifier(inner)
        if whole and len(shorter) < len(inner):
            return [*calls[: end - 1], *shorter]
    return calls


def open_blocks(calls: list[Call]) -> list[Call]:
    """Return the calls, with large ones opened until there are enough to cut."""
    calls = list(calls)
    closed: list[Call] = []

    def n_parameters(call: Call) -> int:
        return sum(parameter.numel() for parameter in call.module.parameters())

    while sum(call.is_block for call in calls) < 3:
        candidates = [
            c for c in calls if c.is_block and all(c is not d for d in closed)
        ]
        if not candidates:
            break
        largest = max(reversed(candidates), key=n_parameters)
        inner, whole = chain_of(largest)
        if whole and len(inner) > 1:
            i = next(i for i, call in enumerate(calls) if call is largest)
            calls[i : i + 1] = inner
        else:
            closed.append(largest)
    return calls


def group(calls: list[Call]) -> list[list[Call]]:
    """Return the calls in groups, one for each stage."""
    flat = next((i for i, call in enumerate(calls) if call.y.is_flat), len(calls))
    tail = calls[flat:]
    groups = _merge(_group_maps(calls[:flat]))
    for call in tail:
        # The pooling, then each hidden layer with what follows it.
        if call is tail[0] or isinstance(call.module, nn.Linear) or call.is_block:
            groups.append([])
        groups[-1].append(call)
    return groups


def _group_maps(calls: list[Call]) -> list[list[Call]]:
    """Return the stem, then blocks with the loose layers that follow them."""
    groups: list[list[Call]] = []
    with_blocks = any(call.is_block for call in calls)
    for call in calls:
        convolution = isinstance(call.module, (nn.Conv2d, nn.Linear))
        if not groups:
            starts = True
        elif with_blocks:
            after_block = any(earlier.is_block for earlier in groups[-1])
            starts = call.is_block or (convolution and after_block)
        else:
            smaller = call.x.n_positions < groups[-1][0].x.n_positions
            starts = convolution and smaller
        if starts:
            groups.append([])
        groups[-1].append(call)
    return groups


def _merge(groups: list[list[Call]]) -> list[list[Call]]:
    """Return fewer groups: those at one resolution together, or quarters."""
    if len(groups) <= MOST_STAGES:
        return groups
    merged: list[list[Call]] = [list(groups[0])]
    for calls in groups[1:]:
        if calls[-1].y.n_positions == merged[-1][-1].y.n_positions:
            merged[-1] += calls
        else:
            merged.append(list(calls))
    if 3 <= len(merged) <= MOST_STAGES:
        return merged
    stem, rest = groups[0], groups[1:]
    quarter = -(-len(rest) // 4)
    quarters = [rest[i : i + quarter] for i in range(0, len(rest), quarter)]
    return [stem, *([call for calls in part for call in calls] for part in quarters)]


def _stage_names(groups: list[list[Call]]) -> list[str]:
    """Return a name for each group: stem, stage1, ..., pool, fc6, fc7."""
    flat = [calls[-1].y.is_flat for calls in groups]
    n_maps = flat.index(True) if True in flat else len(groups)
    maps = ["stem", *(f"stage{i}" for i in range(1, n_maps))][:n_maps]
    hidden = ["pool", *(f"fc{i}" for i in range(6, 6 + len(groups) - n_maps))]
    return [*maps, *hidden[: len(groups) - n_maps]]


def layout_of(stages: Iterable[nn.Module], x: Tensor) -> str:
    """Return where the channels of the maps are, judged by a square image."""
    first = last = 0
    with torch.no_grad():
        for stage in stages:
            x = stage(x)
            if x.ndim == 4 and min(x.shape[1:]) > 1:
                first += x.shape[2] == x.shape[3]
                last += x.shape[1] == x.shape[2]
    return "nhwc" if last > first else "nchw"


def called_by(network: nn.Module, method: str, x: Tensor) -> tuple[str, ...]:
    """Return the names of the modules that ``method`` calls directly."""
    names = {module: name for name, module in network.named_modules()}
    calls = record(network, method, x).inner
    return tuple(dict.fromkeys(names[call.module] for call in calls))
