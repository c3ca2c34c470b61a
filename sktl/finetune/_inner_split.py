"""The validation part that early stopping watches, taken from the training rows."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold


def inner_split(
    y: np.ndarray,
    groups: np.ndarray | None,
    fraction: float,
    stratify: bool,
    seed: int,
    images: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of the rows to train on and of those to watch.

    Parameters
    ----------
    y : ndarray
        Class numbers, or any targets when ``stratify`` is False.
    groups : ndarray or None
        Rows of one group stay on one side.
    fraction : float
        Share of images, or of groups, to hold out.
    stratify : bool
        Whether both sides get all classes, in proportion.
    seed : int
        Draws the split.
    images : ndarray or None, default=None
        A code for the image of each row. Rows of one image stay on one side; with
        groups, wherever groups that share images leave something else to hold out.
        ``None``: all images differ.
    """
    classes = _codes(y) if stratify else np.zeros(len(y), dtype=int)
    images = np.arange(len(y)) if images is None else _codes(images)
    if groups is None:
        valid = _hold_out_images(classes, images, fraction, seed)
        if not len(valid):
            raise ValueError(
                f"early_stopping=True holds out validation_fraction={fraction} of the "
                f"distinct images, and n_samples={len(y)} in {classes.max() + 1} "
                "classes leave none to spare: every class needs one to train on. Pass "
                "early_stopping=False, or validation data through train_split."
            )
    else:
        groups = _codes(groups)
        if not groups.any():
            raise ValueError(
                "early_stopping=True needs rows of at least two groups to hold one "
                "out, and groups has 1. Pass early_stopping=False, or validation data "
                "through train_split."
            )
        valid = _hold_out_groups(classes, _joined(groups, images), fraction, seed)
        if not len(valid):
            valid = _hold_out_groups(classes, groups, fraction, seed)
        if not len(valid):
            raise ValueError(
                "early_stopping=True: no group can be held out without taking a whole "
                "class with it. Pass early_stopping=False, or validation data through "
                "train_split."
            )
    return np.setdiff1d(np.arange(len(y)), valid), np.sort(valid)


def _codes(values: np.ndarray) -> np.ndarray:
    """Return the values as numbers from 0, equal ones as the same."""
    return np.unique(values, return_inverse=True)[1]


def _hold_out_images(
    classes: np.ndarray, images: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """Return the rows of the images to watch; none if all are needed."""
    # In the order of the rows: codes are as they come.
    first = np.sort(np.unique(images, return_index=True)[1])
    drawn = first[_draw(classes[first], fraction, np.random.default_rng(seed))]
    if len(first) == len(images):
        return drawn
    # Of an image with several classes the draw has seen but the first.
    rows = np.flatnonzero(np.isin(images, images[drawn]))
    rows = _spare(rows, classes, images)
    return rows if len(rows) else _hold_out_groups(classes, images, fraction, seed)


def _draw(strata: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a share of each stratum, in proportion, and leave one row of each."""
    _, strata, counts = np.unique(strata, return_inverse=True, return_counts=True)
    wanted = max(1, round(fraction * len(strata)))
    shares = np.minimum(fraction * counts, counts - 1)
    sizes = np.floor(shares).astype(int)
    # What rounding down leaves goes to the largest remainders, chance breaking ties.
    rest = shares - sizes + 1e-6 * rng.random(len(counts))
    open_ = np.flatnonzero(counts - 1 > sizes)
    more = open_[np.argsort(-rest[open_])][: max(0, wanted - sizes.sum())]
    sizes[more] += 1
    drawn = [
        rng.permutation(np.flatnonzero(strata == stratum))[:size]
        for stratum, size in enumerate(sizes)
    ]
    return np.concatenate(drawn)


def _joined(groups: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the groups, those that share an image as one."""
    n_groups, n_images = groups.max() + 1, images.max() + 1
    n_nodes = n_groups + n_images
    edges = (np.ones(len(groups)), (groups, n_groups + images))
    graph = coo_array(edges, shape=(n_nodes, n_nodes)).tocsr()
    return _codes(connected_components(graph, directed=False)[1][groups])


def _hold_out_groups(
    classes: np.ndarray, groups: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """Return the rows of the groups to watch; none if all are needed."""
    n_groups = int(groups.max()) + 1
    if n_groups == 1:
        return np.array([], dtype=int)
    if not classes.any():
        n_held = min(max(1, math.ceil(fraction * n_groups)), n_groups - 1)
        split = GroupShuffleSplit(1, test_size=n_held, random_state=seed)
        return next(split.split(classes, groups=groups))[1]
    # Of so many folds, so many are held out: 1 of 10, 4 of 5, 2 of 7.
    most = min(n_groups, max(10, round(1 / min(fraction, 1 - fraction))))
    share = Fraction(fraction).limit_denominator(most)
    share = min(max(share, Fraction(1, most)), Fraction(most - 1, most))
    n_held, n_folds = share.numerator, share.denominator
    # Not its own shuffle: in scikit-learn 1.6 other seeds can give the same folds.
    groups = np.random.default_rng(seed).permutation(n_groups)[groups]
    strata = _pooled(classes, n_folds)
    splits = StratifiedGroupKFold(n_folds).split(strata, strata, groups)
    folds = [fold for _, fold in splits]
    parts = [
        _spare(np.concatenate((folds + folds)[i : i + n_held]), classes, groups)
        for i in range(n_folds)
    ]
    parts = [part for part in parts if len(part)] or parts
    return min(parts, key=lambda part: abs(len(part) - fraction * len(classes)))


def _pooled(classes: np.ndarray, n_rows: int) -> np.ndarray:
    """Return strata of at least ``n_rows`` rows: classes, small ones put together."""
    counts = np.bincount(classes)
    if counts.min() >= n_rows:
        return classes
    # Folds cannot be more than the rows of a class, says StratifiedGroupKFold.
    strata, number, size = np.empty_like(counts), 0, 0
    for label in np.argsort(counts, kind="stable"):
        strata[label] = number
        size += counts[label]
        if size >= n_rows:
            number, size = number + 1, 0
    return np.minimum(strata, max(0, number - 1))[classes]


def _spare(rows: np.ndarray, classes: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return ``rows`` without the units that would take the last of a class along."""
    left = np.bincount(classes)
    rows = rows[np.argsort(units[rows], kind="stable")]
    spared = []
    for unit in np.split(rows, np.flatnonzero(np.diff(units[rows])) + 1):
        after = left - np.bincount(classes[unit], minlength=len(left))
        if after.all():
            left = after
            spared.append(unit)
    return np.concatenate(spared) if spared else rows[:0]
