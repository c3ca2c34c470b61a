"""Find the stages of a network that nobody described, by watching it run.

An image goes through the network and the calls of its children are recorded. Where
each child takes what the one before it returned, their composition is the network by
construction. Small functions between two children (a ReLU, a flatten, a global mean)
are guessed from a short list and kept if they give the very same numbers; what comes
before the first gap that cannot be explained stays in one piece, the stem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sktl.backbones._layers import (
    ClassToken,
    GlobalMax,
    GlobalMean,
    Permute,
    TokenMean,
    Tokens,
)
from sktl.backbones._part import Part

Plan = dict[str, list]
MOST_STAGES = 8


class Value:
    """A tensor as it was when it was passed on, whatever happened to it later."""

    def __init__(self, tensor: object):
        self.tensor = tensor
        self.is_tensor = isinstance(tensor, Tensor)
        if self.is_tensor:
            self.version = tensor._version
            self.numbers = tensor if tensor.is_meta else tensor.clone()

    def is_same(self, other: Value) -> bool:
        """Tell whether this is the same tensor, untouched in between."""
        return self.tensor is other.tensor and self.version == other.version

    @property
    def shape(self) -> torch.Size:
        """The shape of the tensor."""
        return self.tensor.shape

    @property
    def is_flat(self) -> bool:
        """Tell whether there are no places left, only features."""
        return self.tensor.ndim == 2 or (
            self.tensor.ndim == 4 and self.shape[2:] == (1, 1)
        )

    @property
    def n_places(self) -> int:
        """The number of pixels or tokens."""
        if self.tensor.ndim == 4:
            # Exact where it matters, in a comparison between two stages: where
            # channels come last, they change with the resolution too.
            return self.shape[2] * self.shape[3]
        return self.shape[1]


@dataclass
class Piece:
    """One step of the network: a module, what it was given and what it returned."""

    module: nn.Module
    x: Value | None
    y: Value | None = None
    inner: list[Piece] = field(default_factory=list)

    @property
    def is_simple(self) -> bool:
        """Tell whether one tensor came and one tensor went."""
        values = (self.x, self.y)
        return all(value is not None and value.is_tensor for value in values)

    @property
    def n_parameters(self) -> int:
        """The number of parameters inside."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def is_block(self) -> bool:
        """Tell whether this is more than a single layer."""
        # A norm with its activation has children too, but no weights in them.
        return any(
            next(c.parameters(), None) is not None for c in self.module.children()
        )


def record(network: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor) -> Piece:
    """Return the run of ``network`` on ``x`` as a tree of pieces."""
    root = Piece(network, Value(x))
    stack = [root]

    def enter(module, arguments, options):
        given = [*arguments, *options.values()]
        extra = [value for value in given[1:] if value is not None]
        # What takes more than one tensor is no link of a chain.
        piece = Piece(module, None if extra or not given else Value(given[0]))
        stack[-1].inner.append(piece)
        stack.append(piece)

    def leave(module, arguments, options, result):
        stack.pop().y = Value(result)

    handles = []
    for module in network.modules():
        if module is not network:
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
    try:
        with torch.no_grad():
            root.y = Value(run(x))
    finally:
        for handle in handles:
            handle.remove()
    return root


def decompose(piece: Piece) -> tuple[list[Piece], bool]:
    """Return the longest chain of calls that ends where ``piece`` ends.

    The flag tells whether the chain also starts where ``piece`` starts.
    """
    chain: list[Piece] = []
    target = piece.y
    for call in reversed(piece.inner):
        glue = _glue(call.y, target) if call.is_simple else None
        if glue is None:
            return chain, False
        chain[:0] = [call, *glue]
        target = call.x
    glue = _glue(piece.x, target) if piece.inner else None
    return ([*glue, *chain], True) if glue is not None else (chain, False)


def _glue(a: Value, b: Value) -> list[Piece] | None:
    """Return the small functions that lead from ``a`` to ``b``; [] if they are one."""
    if a.is_same(b):
        return []
    if not (a.tensor.is_floating_point() and b.tensor.is_floating_point()):
        return None
    if a.tensor.is_meta or b.tensor.is_meta:
        return None
    for layer in _candidates(a.tensor, b.tensor):
        with torch.no_grad():
            found = layer(a.numbers)
        if found.shape == b.shape and torch.allclose(found, b.numbers, 1e-5, 1e-6):
            return [Piece(layer, a, b)]
    return None


def _candidates(a: Tensor, b: Tensor) -> list[nn.Module]:
    """Return the layers that could lead from the shape of ``a`` to that of ``b``."""
    activations = [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Tanh()]
    if a.shape == b.shape:
        return [nn.Identity(), *activations]
    shrinking: list[nn.Module] = []
    if a.ndim == 4 and b.ndim == 2:
        shrinking = [nn.Flatten(), GlobalMean(), GlobalMax()]
        shrinking += [nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())]
    elif a.ndim == 4 and b.ndim == 3:
        shrinking = [Tokens()]
    elif a.ndim == 4 and b.ndim == 4 and b.shape[2:] == (1, 1):
        shrinking = [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)]
    elif a.ndim == 4 and b.ndim == 4 and a.numel() == b.numel():
        shrinking = [Permute(0, 2, 3, 1), Permute(0, 3, 1, 2)]
    elif a.ndim == 4 and b.ndim == 4 and b.shape[2]:
        shrinking = [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2)]
    elif a.ndim == 3 and b.ndim == 2:
        shrinking = [ClassToken(), TokenMean(), nn.Flatten()]
    first = [nn.Sequential(nn.ReLU(), layer) for layer in shrinking]
    last = [nn.Sequential(layer, nn.ReLU()) for layer in shrinking]
    return [*shrinking, *first, *last]


def find_plan(
    network: nn.Module,
    x: Tensor,
    method: str = "forward",
    *,
    drop_classifier: bool = True,
) -> Plan:
    """Return the stages of ``network`` on images like ``x``, as a plan to carve by.

    With ``drop_classifier``, a linear layer at the end is the classifier and is left
    out.
    """
    root = record(network, getattr(network, method), x)
    if not root.y.is_tensor:
        raise TypeError(
            f"{type(network).__name__} returns {type(root.y.tensor).__name__}, not a "
            "tensor. Say what makes up its embedding: "
            "sktl.register_backbone(name, network, stages={...})."
        )
    pieces, whole = decompose(root)
    names = {module: name for name, module in network.named_modules()}
    last = names.get(pieces[0].module) if pieces else None
    if drop_classifier:
        pieces = _drop_classifier(pieces)
    if not pieces:
        # Nothing to cut: all of it, or all that comes before the classifier.
        return {"stage1": [Part((method,), last, (last,) if last else ())]}
    groups = group(expand(pieces))
    if not whole:
        calls = [call.module for call in root.inner]
        first = pieces[0].module
        later = calls[calls.index(first) + 1 :]
        stem = Part((method,), names[first], tuple(names[module] for module in later))
        names[stem] = stem
        beginning = Piece(stem, root.x, pieces[0].x)
        if any(piece.is_block for piece in groups[0]):
            groups.insert(0, [beginning])
        else:
            groups[0].insert(0, beginning)
    return {
        stage: [names.get(piece.module, piece.module) for piece in pieces]
        for stage, pieces in zip(_stage_names(groups), groups, strict=True)
    }


def _drop_classifier(pieces: list[Piece]) -> list[Piece]:
    """Return the pieces before the last linear layer, if that is what ends them."""
    quiet = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.Dropout, nn.Identity)
    end = len(pieces)
    while end and isinstance(pieces[end - 1].module, quiet):
        end -= 1
    if not end:
        return pieces
    last = pieces[end - 1]
    if isinstance(last.module, nn.Linear):
        return pieces[: end - 1]
    if last.inner and last.y.tensor.ndim == 2:
        inner, whole = decompose(last)
        shorter = _drop_classifier(inner)
        if whole and len(shorter) < len(inner):
            return [*pieces[: end - 1], *shorter]
    return pieces


def expand(pieces: list[Piece]) -> list[Piece]:
    """Return the pieces, with large ones opened until there are enough to cut."""
    pieces = list(pieces)
    closed: set[int] = set()
    while sum(piece.is_block for piece in pieces) < 3:
        openable = [
            (piece.n_parameters, i)
            for i, piece in enumerate(pieces)
            if piece.is_block and id(piece) not in closed
        ]
        if not openable:
            break
        _, i = max(openable)
        inner, whole = decompose(pieces[i])
        if whole and len(inner) > 1:
            pieces[i : i + 1] = inner
        else:
            closed.add(id(pieces[i]))
    return pieces


def group(pieces: list[Piece]) -> list[list[Piece]]:
    """Return the pieces in groups, each of which is to be a stage."""
    flat = next((i for i, p in enumerate(pieces) if p.y.is_flat), len(pieces))
    body, tail = pieces[:flat], pieces[flat:]
    groups = _merge(_group_maps(body))
    for piece in tail:
        # The pooling, then each hidden layer with what follows it.
        if piece is tail[0] or isinstance(piece.module, nn.Linear) or piece.is_block:
            groups.append([])
        groups[-1].append(piece)
    return groups


def _group_maps(body: list[Piece]) -> list[list[Piece]]:
    """Return the stem, then blocks with the loose layers that follow them."""
    groups: list[list[Piece]] = []
    with_blocks = any(piece.is_block for piece in body)
    for piece in body:
        convolution = isinstance(piece.module, (nn.Conv2d, nn.Linear))
        if not groups:
            starts = True
        elif with_blocks:
            after_block = any(earlier.is_block for earlier in groups[-1])
            starts = piece.is_block or (convolution and after_block)
        else:
            starts = convolution and piece.x.n_places < groups[-1][0].x.n_places
        if starts:
            groups.append([])
        groups[-1].append(piece)
    return groups


def _merge(groups: list[list[Piece]]) -> list[list[Piece]]:
    """Return fewer groups: those at one resolution together, or quarters."""
    if len(groups) <= MOST_STAGES:
        return groups
    merged: list[list[Piece]] = [list(groups[0])]
    for pieces in groups[1:]:
        if pieces[-1].y.n_places == merged[-1][-1].y.n_places:
            merged[-1] += pieces
        else:
            merged.append(list(pieces))
    if 3 <= len(merged) <= MOST_STAGES:
        return merged
    stem, rest = groups[0], groups[1:]
    quarter = -(-len(rest) // 4)
    quarters = [rest[i : i + quarter] for i in range(0, len(rest), quarter)]
    return [stem, *([piece for g in part for piece in g] for part in quarters)]


def _stage_names(groups: list[list[Piece]]) -> list[str]:
    """Return a name for each group: stem, stage1, ..., pool, fc6, fc7."""
    flat = [pieces[-1].y.is_flat for pieces in groups]
    n_maps = flat.index(True) if True in flat else len(groups)
    maps = ["stem", *(f"stage{i}" for i in range(1, n_maps))][:n_maps]
    hidden = [f"fc{i}" for i in range(6, 6 + len(groups) - n_maps)]
    return [*maps, *["pool", *hidden][: len(groups) - n_maps]]


def layout_of(stages: Iterable[nn.Module], x: Tensor) -> str:
    """Return where the channels of the maps are, seen on a square image."""
    first = last = 0
    with torch.no_grad():
        for stage in stages:
            x = stage(x)
            if x.ndim == 4 and min(x.shape[1:]) > 1:
                first += x.shape[2] == x.shape[3]
                last += x.shape[1] == x.shape[2]
    return "nhwc" if last > first else "nchw"


def keep_inputs(network: nn.Module) -> nn.Module:
    """Make every layer leave its input as it is, so that a cut may lie anywhere."""
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False
    return network


def called_by(network: nn.Module, method: str, x: Tensor) -> tuple[str, ...]:
    """Return the names of the modules that ``method`` calls itself."""
    root = record(network, getattr(network, method), x)
    names = {module: name for name, module in network.named_modules()}
    return tuple(dict.fromkeys(names[call.module] for call in root.inner))
