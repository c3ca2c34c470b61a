"""Where pictures go on a map: which part of the plane, and who gets a place."""

from __future__ import annotations

import numpy as np


def window_of(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the part of the plane to show: nearly all positions.

    A few outliers would press all other images into a spot.
    """
    low, high = positions.min(axis=0), positions.max(axis=0)
    inner_low, inner_high = np.quantile(positions, (0.02, 0.98), axis=0)
    reach = 0.3 * (inner_high - inner_low)
    low, high = np.maximum(low, inner_low - reach), np.minimum(high, inner_high + reach)
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def place(
    positions: np.ndarray,
    order: np.ndarray,
    side: float,
    window: np.ndarray,
    n_images: int,
) -> np.ndarray:
    """Return rows whose squares lie in the window and touch no other; greedily."""
    placed: list[int] = []
    at = np.empty((0, 2))
    low, high = window[0] + side / 2, window[1] - side / 2
    for row in order.tolist():
        if len(placed) >= n_images:
            break
        position = positions[row]
        if (position < low).any() or (position > high).any():
            continue
        if len(at) and (np.abs(at - position).max(axis=1) < side).any():
            continue
        placed.append(row)
        at = np.vstack([at, position])
    return np.array(placed, dtype=int)


def in_turns(ranks: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Return all rows in random order, but one of each class after the other."""
    order = rng.permutation(len(ranks))
    turn = np.empty(len(ranks), dtype=int)
    for rank in np.unique(ranks):
        own = order[ranks[order] == rank]
        turn[own] = np.arange(len(own))
    return order[np.argsort(turn[order], kind="stable")]
