"""The validation part that early stopping watches, taken from the training rows."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold


def inner_split(
    y: np.ndarray,
    groups: np.ndarray | None,
    fraction: float,
    stratify: bool,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of the rows to train on and of those to watch.

    Parameters
    ----------
    y : ndarray
        Class numbers, or any targets when ``stratify`` is False.
    groups : ndarray or None
        Rows of one group stay on one side.
    fraction : float
        Share of rows, or of groups, to hold out.
    stratify : bool
        Whether both sides get all classes, in proportion.
    seed : int
        Draws the split.
    """
    if groups is not None:
        n_groups = len(np.unique(groups))
        if n_groups < 2:
            raise ValueError(
                f"early_stopping=True needs rows of at least two groups to hold one "
                f"out, and groups has {n_groups}. Pass early_stopping=False, or "
                "validation data through train_split."
            )
        return _split_groups(y, groups, fraction, stratify, seed)
    rng = np.random.default_rng(seed)
    strata = y if stratify else np.zeros(len(y), dtype=int)
    valid = np.sort(_draw(strata, fraction, rng))
    if not len(valid):
        raise ValueError(
            f"early_stopping=True holds out validation_fraction={fraction} of the "
            f"distinct rows, and n_samples={len(y)} in {len(np.unique(strata))} "
            "classes leave none to spare: every class needs one to train on. Pass "
            "early_stopping=False, or validation data through train_split."
        )
    return np.setdiff1d(np.arange(len(y)), valid), valid


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


def _split_groups(
    y: np.ndarray, groups: np.ndarray, fraction: float, stratify: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split so that no group is on both sides, with all classes to train on."""
    if not stratify:
        split = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
        return next(split.split(y, groups=groups))
    n_folds = int(np.clip(round(1 / fraction), 2, len(np.unique(groups))))
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    n_classes = len(np.unique(y))
    for train, valid in folds.split(y, y, groups):
        if len(valid) and len(np.unique(y[train])) == n_classes:
            return train, valid
    raise ValueError(
        "early_stopping=True: no group can be held out without taking a whole class "
        "with it. Pass early_stopping=False, or validation data through train_split."
    )
