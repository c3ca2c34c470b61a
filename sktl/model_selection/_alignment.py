"""How alike two thumbnails are after one has been laid over the other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, normalize

_STEPS = 6
# What is left out at each side, as a share of it: a crop has lost it, and a rotation
# has filled its corners with black.
_MARGIN = 0.1
# By less than this, images without clear shapes improve wherever they are moved.
_WORTH_A_MOVE = 0.002
# The largest move of an edge, as a share of half a side.
_FARTHEST = 0.3


def align(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Lay other images over each image, as well as an affine map can.

    Gauss-Newton steps on grey values (inverse compositional, Baker and Matthews 2004).
    They find small moves, rotations and changes of scale.

    Parameters
    ----------
    images : ndarray of shape (n, size, size)
        Grey images.
    others : ndarray of shape (n, k, size, size)
        What is laid over each of them.

    Returns
    -------
    similarity, move : ndarray of shape (2, n, k)
        The correlation of slopes, which agree much less in two different photographs
        than grey values do (most have a bright top and a dark bottom); and how far the
        corners were moved, as a share of the side.
    """
    n, k, size, _ = others.shape
    target, laid = torch.tensor(images), torch.tensor(others)
    grid = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    still = torch.eye(3)[:2]

    right, down = _slopes(target)
    wanted, wanted_slopes = _unit(_inner(target)), _joined(right, down)
    # What each of the six numbers of a map does to the normalised image.
    steepest = [right * x, right * y, right, down * x, down * y, down]
    effects = torch.stack([_inner(image) for image in steepest], dim=1)
    effects = effects / _length(_inner(target))[:, None]
    effects = effects - effects.mean(dim=2, keepdim=True)
    effects = effects - (effects @ wanted[..., None]) * wanted[:, None]
    curvature = effects @ effects.mT
    scale = curvature.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    damping = (1e-3 * scale + 1e-9) * torch.eye(6)
    solve = torch.linalg.solve(curvature + damping, effects)

    maps = still.repeat(n, k, 1, 1)
    flat = laid.reshape(n * k, 1, size, size)
    similarity, move = torch.full((n, k), -1.0), torch.zeros(n, k)
    for step in range(_STEPS + 1):
        if step:
            values = _unit(_inner(laid))
            gain = (values @ wanted[..., None]).clamp_min(0.3)
            error = values / gain - wanted[:, None]
            change = (error @ solve.mT).clamp(-0.15, 0.15).unflatten(-1, (2, 3))
            maps = maps @ torch.linalg.inv(_square(still + change))
            maps = still + (maps - still).clamp(-_FARTHEST, _FARTHEST)
            where = affine_grid(maps.flatten(0, 1), [*flat.shape], align_corners=False)
            laid = grid_sample(
                flat, where, padding_mode="border", align_corners=False
            ).reshape(laid.shape)
        found = (_joined(*_slopes(laid)) * wanted_slopes[:, None]).sum(dim=-1)
        moved = (maps - still).abs().sum(dim=-1).amax(dim=-1) / 2
        better = found > similarity + _WORTH_A_MOVE
        similarity = torch.where(better, found, similarity)
        move = torch.where(better, moved, move)
    return torch.stack([similarity, move]).numpy()


def _inner(images: Tensor) -> Tensor:
    """Return what lies inside the margin, as rows."""
    margin = round(images.shape[-1] * _MARGIN)
    return images[..., margin:-margin, margin:-margin].flatten(-2)


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return how grey values rise to the right and downwards, over half a side."""
    down, right = torch.gradient(images, spacing=2 / images.shape[-1], dim=(-2, -1))
    return right, down


def _joined(right: Tensor, down: Tensor) -> Tensor:
    """Return slopes as rows of length 1; those of a flat image are zero."""
    return normalize(torch.cat([_inner(right), _inner(down)], dim=-1), dim=-1, eps=1e-6)


def _length(rows: Tensor) -> Tensor:
    """Return the length of rows about their mean."""
    about = rows - rows.mean(dim=-1, keepdim=True)
    return about.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def _unit(rows: Tensor) -> Tensor:
    """Return rows with mean 0 and length 1."""
    return (rows - rows.mean(dim=-1, keepdim=True)) / _length(rows)


def _square(maps: Tensor) -> Tensor:
    """Return maps (2, 3) as matrices (3, 3)."""
    last = torch.tensor([0.0, 0.0, 1.0]).expand(*maps.shape[:-2], 1, 3)
    return torch.cat([maps, last], dim=-2)
