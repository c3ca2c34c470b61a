"""The network as an ordered list of named stages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from sktl.backbones._info import BackboneInfo
from sktl.backbones._layers import Copy
from sktl.backbones._part import Part
from sktl.exceptions import StageNotFoundError
from sktl.images import Recipe


class StagedNetwork(nn.Module):
    """A network cut into named stages whose composition is the embedding.

    Parameters
    ----------
    stages : mapping of str to torch.nn.Module
        The stages, in order. Each takes what the one before it returns.
    info : BackboneInfo
        What is known of the network.
    layout : {"nchw", "nhwc", "tokens"}, default="nchw"
        How the network arranges its spatial activations.
    n_prefix_tokens : int, default=0
        Tokens that stand before those of the image (class token, registers).

    Attributes
    ----------
    stages : torch.nn.ModuleDict
        The stages, in order.
    info, layout, n_prefix_tokens
        As given.

    Examples
    --------
    >>> import torch
    >>> from sktl.backbones import resolve
    >>> network = resolve("squeezenet1_1", weights=None, random_state=0).load()
    >>> images = torch.zeros(2, 3, 64, 64)
    >>> network(images).shape
    torch.Size([2, 512])

    Any stage can be the place to stop, and to go on from:

    >>> activation = network.run(images, upto="stage2")
    >>> activation.shape
    torch.Size([2, 256, 3, 3])
    >>> embedding = network.flat(network.run(activation, after="stage2"))
    >>> torch.allclose(embedding, network(images))
    True
    """

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        info: BackboneInfo,
        layout: str = "nchw",
        n_prefix_tokens: int = 0,
    ):
        super().__init__()
        self.stages = nn.ModuleDict(stages)
        self.info = info
        self.layout = layout
        self.n_prefix_tokens = n_prefix_tokens

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings ``(n, n_features)`` of a batch of images."""
        for stage in self.stages.values():
            x = stage(x)
        return x.flatten(1)

    def run(
        self, x: Tensor, *, after: str | None = None, upto: str | None = None
    ) -> Tensor:
        """Run a stretch of stages.

        Parameters
        ----------
        x : Tensor
            The output of stage ``after``, or a batch of images.
        after : str, optional
            The stage that ``x`` comes from; None means the images themselves.
        upto : str, optional
            The last stage to run; None means the last of all.

        Returns
        -------
        Tensor
            The output of ``upto``, as the stage emits it.
        """
        names = list(self.stages)
        first = 0 if after is None else self._position(after) + 1
        last = len(names) if upto is None else self._position(upto) + 1
        if last < first:
            raise StageNotFoundError(
                f"No stages run from after {after!r} to {upto!r}: the order of "
                f"{self.info.name!r} is {names}."
            )
        for name in names[first:last]:
            x = self.stages[name](x)
        return x

    def as_map(self, activation: Tensor) -> Tensor:
        """Return an activation as ``(n, channels, h, w)``, or ``(n, d)`` if flat.

        Tokens go back to their places in the image and the prefix tokens are left
        out; a grid of tokens that is not square comes back as ``(n, channels,
        length, 1)``.
        """
        if activation.ndim == 3:
            tokens = activation[:, self.n_prefix_tokens :].transpose(1, 2)
            length = tokens.shape[2]
            side = math.isqrt(length)
            shape = (side, side) if side * side == length else (length, 1)
            return tokens.unflatten(2, shape)
        if activation.ndim == 4 and self.layout == "nhwc":
            return activation.permute(0, 3, 1, 2)
        return activation

    def flat(self, activation: Tensor) -> Tensor:
        """Return what the last stage emits as ``(n, n_features)``."""
        return activation.flatten(1)

    def _position(self, stage: str) -> int:
        names = list(self.stages)
        if stage not in names:
            raise StageNotFoundError(
                f"Backbone {self.info.name!r} has no stage {stage!r}. Its stages are "
                f"{names}."
            )
        return names.index(stage)


def carve(
    model: nn.Module, plan: Mapping[str, str | nn.Module | Iterable]
) -> dict[str, nn.Module]:
    """Return the stages that ``plan`` names, made of the modules of ``model``.

    A plan maps each stage to its pieces in order: paths of submodules
    (``"layer1"``), slices of containers (``"features[3:6]"``), small modules of
    their own, or a :class:`Part`. Nothing is copied.
    """
    stages = {}
    for stage, pieces in plan.items():
        if isinstance(pieces, (str, nn.Module, Part)):
            pieces = [pieces]
        modules = [module for piece in pieces for module in _find(model, piece)]
        if not modules:
            raise StageNotFoundError(f"Stage {stage!r} was given no modules.")
        stages[stage] = modules[0] if len(modules) == 1 else nn.Sequential(*modules)
    return stages


def _find(model: nn.Module, piece: str | nn.Module | Part) -> list[nn.Module]:
    """Return the modules that one piece of a plan stands for."""
    if isinstance(piece, nn.Module):
        return [piece]
    if isinstance(piece, Part):
        return [piece.of(model)]
    path, start, stop = re.fullmatch(
        r"([^\[\]]*)(?:\[(\d*):(\d*)\])?", piece
    ).groups() or (piece, None, None)
    try:
        module = model.get_submodule(path)
    except AttributeError as error:
        raise StageNotFoundError(
            f"{type(model).__name__} has no submodule {path!r} ({error}). Its children "
            f"are {[name for name, _ in model.named_children()]}."
        ) from error
    if start is None:
        return [module]
    children = list(module.children())
    return children[int(start or 0) : int(stop) if stop else len(children)]


def keep_activations(network: StagedNetwork) -> Tensor:
    """Give stages that change what they are given a copy of their own.

    The activation at any cut then stays what it was. Returns the embedding of the
    noise that this was seen on.
    """
    x = noise(network.info.recipe)
    with torch.no_grad():
        for name, stage in list(network.stages.items()):
            given = x.clone()
            y = stage(x)
            if not torch.equal(x, given):
                network.stages[name] = nn.Sequential(Copy(), stage)
            x = y
    return x.flatten(1)


def check_cut(network: StagedNetwork, embed: Callable[[Tensor], Tensor]) -> None:
    """Raise unless the stages of ``network`` give the numbers of ``embed``."""
    found = keep_activations(network)
    with torch.no_grad():
        expected = embed(noise(network.info.recipe)).flatten(1)
    scale = expected.abs().max()
    if found.shape != expected.shape or (found - expected).abs().max() > 1e-4 * scale:
        raise StageNotFoundError(
            f"The stages found in {network.info.name!r} do not give the numbers of the "
            "whole network. Name them: sktl.register_backbone(name, network, "
            "stages={...})."
        )


def noise(recipe: Recipe) -> Tensor:
    """Return one image of noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, recipe.channels, *recipe.size, generator=generator)
