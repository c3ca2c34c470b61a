"""The network as an ordered list of named stages, and how it is cut into them."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sktl.backbones._info import BackboneInfo
from sktl.backbones._layers import Copy
from sktl.exceptions import StageNotFoundError
from sktl.images import Recipe

# What each stage is made of: one piece, or several in order. A piece is the path of a
# submodule ("layer1"), a slice of a container ("features[3:6]"), a layer without
# weights, or a callable that makes a module out of the network.
Plan = dict[str, Any]


class StagedNetwork(nn.Module):
    """A network cut into named stages whose composition is the embedding.

    Parameters
    ----------
    stages : mapping of str to torch.nn.Module
        The stages, in order. Each takes what the one before it returns.
    info : BackboneInfo
        The facts about the network.
    layout : {"nchw", "nhwc", "tokens"}, default="nchw"
        How the network arranges its spatial activations.
    n_prefix_tokens : int, default=0
        Tokens that come before those of the image (class token, registers).

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

    You can stop at any stage, and go on from there:

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
        info: BackboneInfo | None = None,
        layout: str = "nchw",
        n_prefix_tokens: int = 0,
    ):
        super().__init__()
        self.stages = nn.ModuleDict(stages)
        # None only until the network has been measured.
        self.info: BackboneInfo = info  # type: ignore[assignment]
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
        """Run some of the stages.

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
            The output of ``upto``, as the stage returns it.
        """
        names = list(self.stages)
        first = 0 if after is None else self._position(after) + 1
        last = len(names) if upto is None else self._position(upto) + 1
        if last < first:
            raise StageNotFoundError(
                f"No stages run after {after!r} and up to {upto!r}: the order in "
                f"backbone {self.info.name!r} is {names}."
            )
        for name in names[first:last]:
            x = self.stages[name](x)
        return x

    def as_map(self, activation: Tensor) -> Tensor:
        """Return an activation as ``(n, channels, h, w)``, or ``(n, d)`` if flat.

        Tokens go back to their positions in the image, without the prefix tokens;
        if they do not form a square, the result is ``(n, channels, length, 1)``.
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
        """Return the output of the last stage as ``(n, n_features)``."""
        return activation.flatten(1)

    def _position(self, stage: str) -> int:
        names = list(self.stages)
        if stage not in names:
            raise StageNotFoundError(
                f"Backbone {self.info.name!r} has no stage {stage!r}. Its stages are "
                f"{names}."
            )
        return names.index(stage)


def carve(model: nn.Module, plan: Plan) -> dict[str, nn.Module]:
    """Return the stages that ``plan`` names; they share the modules of ``model``."""
    stages = {}
    for stage, pieces in plan.items():
        modules = [
            module
            for piece in (pieces if isinstance(pieces, (list, tuple)) else [pieces])
            for module in _modules_of(piece, model)
        ]
        if not modules:
            raise StageNotFoundError(f"Stage {stage!r} was given no modules.")
        stages[stage] = modules[0] if len(modules) == 1 else nn.Sequential(*modules)
    return stages


def _modules_of(piece: Any, model: nn.Module) -> list[nn.Module]:
    """Return the modules of ``model`` that one piece of a plan stands for."""
    if isinstance(piece, nn.Module):
        return [copy.deepcopy(piece)]
    if callable(piece):
        return [piece(model)]
    sliced = re.fullmatch(r"(.*)\[(\d*):(\d*)\]", piece)
    path, start, stop = sliced.groups() if sliced else (piece, "", "")
    try:
        module = model.get_submodule(path)
    except AttributeError as error:
        raise StageNotFoundError(
            f"{type(model).__name__} has no submodule {path!r} ({error}). Its children "
            f"are {[name for name, _ in model.named_children()]}."
        ) from error
    if not sliced:
        return [module]
    return list(module.children())[int(start or 0) : int(stop) if stop else None]


def noise(recipe: Recipe) -> Tensor:
    """Return one image of noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, recipe.channels, *recipe.size, generator=generator)


def keep_inputs(network: nn.Module) -> nn.Module:
    """Make every layer leave its input unchanged, so that a cut can be anywhere."""
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return network


def keep_activations(network: StagedNetwork, recipe: Recipe) -> Tensor:
    """Give stages that change their input a copy of it.

    The activation at any cut then stays unchanged. Returns the embedding of the noise
    that was used to find those stages.
    """
    x = noise(recipe)
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
    found = keep_activations(network, network.info.recipe)
    with torch.no_grad():
        expected = embed(noise(network.info.recipe)).flatten(1)
    scale = expected.abs().max()
    if found.shape != expected.shape or (found - expected).abs().max() > 1e-4 * scale:
        raise StageNotFoundError(
            f"The stages found in {network.info.name!r} do not give the numbers of the "
            "whole network. Name them with sktl.register_backbone(name, network, "
            "stages={...})."
        )


def measure(network: StagedNetwork, recipe: Recipe) -> dict:
    """Return stages, widths, embedding size, parameters and multiply-adds.

    Works on the meta device, where it costs no arithmetic; anywhere else it runs one
    black image.
    """
    from torch.utils.flop_counter import FlopCounterMode

    network.requires_grad_(False)  # the counter would look for gradients
    device = next(iter(network.parameters()), torch.empty(0)).device
    x = torch.zeros(1, recipe.channels, *recipe.size, device=device)
    widths = []
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for stage in network.stages.values():
            x = stage(x)
            widths.append(network.as_map(x).shape[1])
    return {
        "stages": tuple(network.stages),
        "widths": tuple(widths),
        "n_features": x.flatten(1).shape[1],
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "gflops": float(f"{counter.get_total_flops() / 2e9:.4g}"),
    }
