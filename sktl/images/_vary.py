"""Pixels, varied at random: moved, recoloured, erased in part."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from sktl.images._views import Variation


def vary(batch: Tensor, how: Variation, generator: torch.Generator) -> Tensor:
    """Return a varied batch (n, c, h, w) of floats on a scale from 0 to 1."""
    moves = how.flip or how.vertical_flip or how.rotate or how.crop < 1 or how.shift
    if moves:
        grid = functional.affine_grid(
            affine_maps(batch, how, generator).to(batch.device),
            list(batch.shape),
            align_corners=False,
        )
        batch = functional.grid_sample(
            batch, grid, padding_mode="reflection", align_corners=False
        )
    if how.color:
        batch = _recolour(batch, how.color, generator)
    if how.erase:
        batch = _erase(batch, how.erase, generator)
    return batch


def affine_maps(batch: Tensor, how: Variation, generator: torch.Generator) -> Tensor:
    """Return one affine map for each image, (n, 2, 3)."""
    n, _, height, width = batch.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    side = uniform(how.crop, 1.0).sqrt()
    stretch = uniform(-1.0, 1.0).mul(math.log(4 / 3) / 2).exp()
    stretch = stretch if how.crop < 1 else torch.ones(n)
    scale_x, scale_y = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    shift_x, shift_y = uniform(-1, 1) * (1 - scale_x), uniform(-1, 1) * (1 - scale_y)
    mirror = 1 - 2 * (torch.rand(n, generator=generator) < how.flip).float()
    upside = 1 - 2 * (torch.rand(n, generator=generator) < how.vertical_flip).float()
    angle = uniform(-1, 1) * math.radians(how.rotate)
    cos, sin = angle.cos(), angle.sin()
    if how.shift:
        # The grid is in units of half the sides.
        shift_x = shift_x + uniform(-2, 2) * how.shift
        shift_y = shift_y + uniform(-2, 2) * how.shift
    # Rotation is in pixels.
    maps = torch.zeros(n, 2, 3)
    maps[:, 0, 0] = cos * scale_x * mirror
    maps[:, 0, 1] = -sin * scale_y * height / width
    maps[:, 1, 0] = sin * scale_x * mirror * width / height
    maps[:, 1, 1] = cos * scale_y * upside
    maps[:, 0, 2], maps[:, 1, 2] = shift_x, shift_y
    return maps


def _recolour(batch: Tensor, color: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation."""
    factors = 1 + color * (
        2 * torch.rand(3, len(batch), 1, 1, 1, generator=generator) - 1
    ).to(batch.device)
    batch = batch * factors[0]
    mean = batch.mean((1, 2, 3), keepdim=True)
    batch = mean + (batch - mean) * factors[1]
    if batch.shape[1] == 3:
        grey = batch.mean(1, keepdim=True)
        batch = grey + (batch - grey) * factors[2]
    return batch.clamp(0, 1)


def _erase(batch: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Turn a rectangle of some images into their mean colour."""
    n, _, height, width = batch.shape
    draws = torch.rand(5, n, generator=generator)
    sides = 0.1 + 0.4 * draws[1:3]
    low = draws[3:5] * (1 - sides)

    def inside(axis: int, length: int) -> Tensor:
        place = (torch.arange(length) + 0.5) / length
        low_, side = low[axis, :, None], sides[axis, :, None]
        return (place >= low_) & (place < low_ + side)

    chosen = (draws[0] < share)[:, None, None]
    box = inside(0, height)[:, :, None] & inside(1, width)[:, None, :] & chosen
    mean = batch.mean((2, 3), keepdim=True)
    return torch.where(box[:, None].to(batch.device), mean, batch)
