"""The validation part that early stopping watches, taken from the training rows."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import (
    GroupShuffleSplit,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedShuffleSplit,
)


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
    n_valid = max(1, round(fraction * len(y)))
    if len(y) - n_valid < 1:
        raise ValueError(_too_few(f"{len(y)} distinct rows", fraction))
    if not stratify:
        split = ShuffleSplit(1, test_size=n_valid, random_state=seed)
        return next(split.split(y))
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < 2 or n_valid < len(classes) or len(y) - n_valid < len(classes):
        raise ValueError(
            _too_few(
                f"{len(y)} distinct rows in {len(classes)} classes, the smallest with "
                f"{counts.min()}",
                fraction,
            )
        )
    split = StratifiedShuffleSplit(1, test_size=n_valid, random_state=seed)
    return next(split.split(y, y))


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


def _too_few(what: str, fraction: float) -> str:
    return (
        f"early_stopping=True holds out validation_fraction={fraction} of the rows, and "
        f"{what} are too few for that. Raise validation_fraction, pass "
        "early_stopping=False, or give validation data through train_split."
    )
