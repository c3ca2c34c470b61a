"""Random views of whole batches of small images, as tensors."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Return uint8 images ``(n, h, w, 3)`` as floats in [0, 1], channels last."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return x.float().div_(255)


def plain_view(images: np.ndarray, size: int) -> torch.Tensor:
    """Resize (antialiased) and normalise."""
    x = to_tensor(images)
    if x.shape[-1] != size:
        x = interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return (x - MEAN) / STD


def random_view(
    images: np.ndarray,
    size: int,
    generator: torch.Generator,
    *,
    min_area: float = 0.35,
    jitter: float = 0.2,
) -> torch.Tensor:
    """Crop, flip and jitter a batch, with a new draw for each image.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, 3) and dtype uint8
        The batch.
    size : int
        Side of the views.
    generator : torch.Generator
        Source of the draws.
    min_area : float, default=0.35
        Smallest share of the image's area that a crop covers.
    jitter : float, default=0.2
        Range of the brightness and contrast factors around 1. Hue does not change:
        colour is informative in many images, and features should keep it.

    Returns
    -------
    Tensor of shape (n, 3, size, size)
        Normalised views.
    """
    n = len(images)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    area = uniform(min_area, 1.0)
    ratio = uniform(-math.log(4 / 3), math.log(4 / 3)).exp()
    width = (area * ratio).sqrt().clamp_(max=1)
    height = (area / ratio).sqrt().clamp_(max=1)
    left = (1 - width) * uniform(-1, 1)
    top = (1 - height) * uniform(-1, 1)
    flip = torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width * flip, left
    theta[:, 1, 1], theta[:, 1, 2] = height, top
    x = to_tensor(images)
    # Bilinear sampling aliases when it shrinks a lot: sample twice as fine and average.
    fine = 2 if x.shape[-1] > 1.5 * size else 1
    grid = affine_grid(theta, (n, 3, size * fine, size * fine), align_corners=False)
    x = grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    if fine > 1:
        x = avg_pool2d(x, fine)
    if jitter:
        contrast = uniform(1 - jitter, 1 + jitter).view(n, 1, 1, 1)
        brightness = uniform(1 - jitter, 1 + jitter).view(n, 1, 1, 1)
        # contrast around the mean grey of the data, not of the batch; then brightness
        x = ((x - 0.45) * contrast + 0.45) * brightness
    return (x - MEAN) / STD
