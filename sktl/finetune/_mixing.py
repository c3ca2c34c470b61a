"""Mixup and CutMix, on whatever enters the trained part of the network."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def check_maps(x: Tensor) -> None:
    """Raise if there are no maps that cutmix could cut rectangles from."""
    if x.ndim != 4:
        raise ValueError(
            "cutmix needs maps to cut rectangles from, and the activations at this cut "
            f"have shape {tuple(x.shape[1:])}. Unfreeze more stages, or use mixup."
        )


class Mixing:
    """Mix each row of a batch with another one.

    What is mixed are the inputs of the trained part: pixels when nothing is frozen,
    otherwise activations at the cut (manifold mixup).

    Parameters
    ----------
    mixup, cutmix : float
        Parameter of the Beta distribution of the share; 0 turns the kind off. With
        both on, each batch draws one.
    channels_last : bool
        Whether maps come as (n, h, w, c).
    seed : int
        Draws shares, partners and rectangles.
    """

    def __init__(self, mixup: float, cutmix: float, channels_last: bool, seed: int):
        self.mixup = mixup
        self.cutmix = cutmix
        self.channels_last = channels_last
        self._rng = np.random.default_rng(seed)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return the mixed batch, the partner of each row and the share of its own."""
        cut = self.cutmix and (not self.mixup or self._rng.random() < 0.5)
        alpha = self.cutmix if cut else self.mixup
        share = float(self._rng.beta(alpha, alpha))
        partner = torch.from_numpy(self._rng.permutation(len(x))).to(x.device)
        if not cut:
            return torch.lerp(x[partner], x, share), partner, share
        return self._paste(x, partner, share)

    def _paste(
        self, x: Tensor, partner: Tensor, share: float
    ) -> tuple[Tensor, Tensor, float]:
        """Paste a rectangle of the partner over each map."""
        rows, columns = (1, 2) if self.channels_last else (2, 3)
        side = math.sqrt(1 - share)
        (top, height), (left, width) = (
            self._span(x.shape[axis], side) for axis in (rows, columns)
        )
        mixed = x.clone()
        window = mixed.narrow(rows, top, height).narrow(columns, left, width)
        source = x[partner].narrow(rows, top, height).narrow(columns, left, width)
        window.copy_(source)
        area = height * width / (x.shape[rows] * x.shape[columns])
        return mixed, partner, 1 - area

    def _span(self, length: int, side: float) -> tuple[int, int]:
        """Return where a window of the relative size ``side`` starts, and its size."""
        size = round(side * length)
        return int(self._rng.integers(length - size + 1)), size
