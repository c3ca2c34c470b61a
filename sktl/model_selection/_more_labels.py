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
    *,
    task: str,
    scoring: str,
    **how,
) -> LabelCurve | None:
    """Fit a candidate to parts of the training rows; None if those are too few.

    ``fit`` returns its results on given splits; ``how`` goes to the interval.
    """
    rng = np.random.default_rng(0)
    orders = [_by_target(train, y, rng) for train, _ in splits]
    steps = [step for step in _STEPS if _is_enough(orders, y, step, task)]
    if not steps:
        return None
    results = [
        fit(
            [
                (np.sort(order[::step]), test)
                for order, (_, test) in zip(orders, splits, strict=True)
            ]
        )
        for step in steps
    ]
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
        **how,
    )
    mean_size = float(np.mean([len(train) for train, _ in splits]))
    sizes = [round(mean_size / step) for step in (*steps, 1)]
    return LabelCurve(candidate.name, sizes, scores, gain, scoring)


def _by_target(train: np.ndarray, y: np.ndarray, rng) -> np.ndarray:
    """Return rows sorted by target, so that every n-th of them has its share of each.

    Rows of one target are in random order.
    """
    shuffled = rng.permutation(train)
    return shuffled[np.argsort(y[shuffled], kind="stable")]


def _is_enough(orders: list[np.ndarray], y: np.ndarray, step: int, task: str) -> bool:
    """Tell whether every n-th row of each training part is enough to fit to."""
    if task == "regression":
        return min(map(len, orders)) // step >= _LEAST
    rarest = min(np.unique(y[order], return_counts=True)[1].min() for order in orders)
    return rarest // step >= _LEAST_OF_A_CLASS
