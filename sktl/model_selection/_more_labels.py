"""``LabelCurve``: what more labels would bring to a candidate on frozen features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sktl._wording import points
from sktl.model_selection._candidates import Candidate
from sktl.model_selection._cross_validation import Split, SplitResult
from sktl.model_selection._intervals import Interval, difference_interval
from sktl.model_selection._scores import is_at_most_one

# Every eighth training row, every fourth, every second; then all of them.
_STEPS = (8, 4, 2)
_LEAST_OF_A_CLASS, _LEAST = 3, 10
_LITTLE = 0.01


@dataclass(frozen=True)
class LabelCurve:
    """The scores of a candidate by the number of images it was fitted to.

    Attributes
    ----------
    name : str
        The candidate.
    sizes : list of int
        Images in a training part; each size is about twice the one before.
    scores : ndarray of shape (n_sizes, n_splits)
        The scores on the test images of each split, which are always the same.
    gain : Interval
        What the last doubling brought.
    scoring : str
        The score.
    """

    name: str
    sizes: list[int]
    scores: np.ndarray
    gain: Interval
    scoring: str

    def __str__(self) -> str:
        before, now = self.scores[-2:].mean(axis=1)
        step = (
            f"Going from {self.sizes[-2]} to {self.sizes[-1]} labelled images took "
            f"{self.name} from {before:.3f} to {now:.3f}"
        )
        is_share = is_at_most_one(self.scoring)
        little, room = (_LITTLE, 1 - now) if is_share else (_LITTLE * abs(now), np.inf)
        if min(self.gain.high, room) < little:
            return f"{step}: more labels of the same kind would bring little."
        if self.gain.low > 0:
            gain = points(self.gain.mean) if is_share else f"{self.gain.mean:.3g}"
            return f"{step}: twice as many labels may bring up to {gain} more."
        chance = "which could be chance"
        if is_share and np.isfinite(self.gain.low):
            low = points(self.gain.low).removesuffix(" points")
            chance += f" ({low} to {points(self.gain.high)})"
        return f"{step}, {chance}: more labels may or may not help."


def measure_label_curve(
    candidate: Candidate,
    fit: Callable[[list[Split]], list[SplitResult]],
    y: np.ndarray,
    splits: list[Split],
    groups: np.ndarray | None = None,
    *,
    task: str,
    scoring: str,
    **how,
) -> LabelCurve | None:
    """Fit a candidate to parts of the training rows; None if those are too few.

    Rows of one unit (a group, or a single image) are left out together. ``fit`` returns
    its results on given splits; ``how`` goes to the interval.
    """
    rng, units = np.random.default_rng(0), np.arange(len(y))
    if groups is not None:
        units = np.unique(groups, return_inverse=True)[1]
    orders = [_by_target(train, y, units, rng) for train, _ in splits]
    trains = [train for train, _ in splits]
    parts = (
        [
            train[np.isin(units[train], order[::step])]
            for order, train in zip(orders, trains, strict=True)
        ]
        for step in _STEPS
    )
    sets = [some for some in parts if _is_enough(some, trains, y, task)]
    if not sets:
        return None
    tests = [test for _, test in splits]
    try:
        results = [fit(list(zip(some, tests, strict=True))) for some in sets]
    except ValueError:  # a head that needs more rows, such as PCA with n_components
        return None
    results.append(candidate.results)
    scores = np.array([[found.score for found in row] for row in results])
    right = [
        np.concatenate(
            [
                found.predictions == y[test]
                for found, (_, test) in zip(row, splits, strict=True)
            ]
        )
        for row in results[-2:]
    ]
    gain = difference_interval(
        scores[-1] - scores[-2],
        splits,
        scoring,
        apart=float(np.mean(right[0] != right[1])),
        grouped=groups is not None,
        **how,
    )
    sizes = [round(float(np.mean([*map(len, some)]))) for some in (*sets, trains)]
    return LabelCurve(candidate.name, sizes, scores, gain, scoring)


def _by_target(train: np.ndarray, y: np.ndarray, units: np.ndarray, rng) -> np.ndarray:
    """Return units sorted by target, so that every n-th of them has its share of each.

    Units of one target are in random order.
    """
    found, first = np.unique(units[train], return_index=True)
    order = rng.permutation(len(found))
    return found[order][np.argsort(y[train[first]][order], kind="stable")]


def _is_enough(parts: list, trains: list, y: np.ndarray, task: str) -> bool:
    """Tell whether each part of the training rows is enough to fit to."""
    if task == "regression":
        return min(map(len, parts)) >= _LEAST
    return all(
        np.isin(y[train], y[part]).all()
        and np.unique(y[part], return_counts=True)[1].min() >= _LEAST_OF_A_CLASS
        for part, train in zip(parts, trains, strict=True)
    )
