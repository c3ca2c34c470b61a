"""Intervals of cross-validated scores, and of differences between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from sktl.model_selection._cross_validation import Split
from sktl.model_selection._scores import bounds_of

# Folds share training images, and the model is drawn by chance like the test images, so
# three images tell as much as two independent ones. Chosen for the coverage that it
# gives, which benchmarks/interval_coverage.py measures.
_IMAGES_PER_INDEPENDENT = 1.5


@dataclass(frozen=True)
class Interval:
    """A mean over splits with its confidence interval.

    ``p_value`` is two-sided, for the hypothesis that the mean is 0.
    """

    mean: float
    low: float
    high: float
    p_value: float


def score_interval(
    scores,
    splits: list[Split],
    scoring: str,
    confidence: float = 0.95,
    *,
    grouped: bool = False,
) -> Interval:
    """Return the mean of scores and its interval, within the values of the score.

    An accuracy is a share of images and has Wilson's interval. Other scores from 0 to
    1, and images in groups, have the interval of the corrected t test, but none
    narrower than that.
    """
    found = corrected_interval(scores, splits, confidence)
    bounds, is_share = bounds_of(scoring), scoring == "accuracy" and not grouped
    if bounds == (0, 1) and np.isfinite(found.mean):
        n = _n_tested(splits) / _IMAGES_PER_INDEPENDENT
        z = stats.norm.ppf(0.5 + confidence / 2)
        middle = (found.mean + z**2 / (2 * n)) / (1 + z**2 / n)
        error = np.sqrt(found.mean * (1 - found.mean) / n + (z / (2 * n)) ** 2)
        half = z * error / (1 + z**2 / n)
        wilson = Interval(found.mean, middle - half, middle + half, np.nan)
        found = wilson if is_share else _wider(found, wilson)
    return _within(found, *bounds)


def difference_interval(
    differences,
    splits: list[Split],
    scoring: str,
    confidence: float = 0.95,
    *,
    grouped: bool = False,
    apart: float = 0.0,
) -> Interval:
    """Return the mean of paired differences of scores and its interval.

    Two accuracies differ by the images that only one candidate gets right. ``apart`` is
    the share of those images; there are at least as many as the scores differ by. Half
    an image more in each of the four cells, right or wrong for either (Agresti and Min,
    https://doi.org/10.1002/sim.1781), keeps equal differences in all folds from looking
    certain. Other scores from 0 to 1, and images
    in groups, have the interval of the corrected t test, but none narrower than that.
    """
    found = corrected_interval(differences, splits, confidence)
    low, high = bounds_of(scoring)
    is_share = scoring == "accuracy" and not grouped
    if (low, high) == (0, 1) and np.isfinite(found.mean):
        n = _n_tested(splits)
        mean = found.mean * n / (n + 2)
        apart = (max(apart, abs(found.mean)) * n + 1) / (n + 2)
        variance = apart - mean**2
        error = np.sqrt(variance * _IMAGES_PER_INDEPENDENT / n)
        half = stats.norm.ppf(0.5 + confidence / 2) * error
        p_value = float(2 * stats.norm.sf(abs(mean) / error))
        paired = Interval(found.mean, mean - half, mean + half, p_value)
        found = paired if is_share else _wider(found, paired)
    return _within(found, low - high, high - low)


def corrected_interval(
    scores, splits: list[Split], confidence: float = 0.95
) -> Interval:
    """Return mean and interval of scores, by the corrected resampled t test.

    Training sets of different folds overlap, so their scores are not independent and
    the usual standard error is far too small. Nadeau and Bengio's correction adds the
    share of the test set to it: https://doi.org/10.1023/A:1024068626366. Scores that
    do not vary say nothing about their error, so they have no interval.
    """
    scores = np.asarray(scores, dtype=np.float64)
    n, mean = len(scores), float(scores.mean())
    if n < 2 or not np.isfinite(scores).all() or np.ptp(scores) < 1e-12:
        return Interval(mean, np.nan, np.nan, np.nan)
    n_train, n_test = _mean_sizes(splits)
    error = float(np.sqrt(scores.var(ddof=1) * (1 / n + n_test / n_train)))
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return Interval(mean, mean - half, mean + half, p_value)


def _wider(first: Interval, second: Interval) -> Interval:
    """Return an interval that holds both; NaN means that one is unknown."""
    return Interval(
        first.mean,
        float(np.fmin(first.low, second.low)),
        float(np.fmax(first.high, second.high)),
        float(np.fmax(first.p_value, second.p_value)),
    )


def _within(found: Interval, low: float, high: float) -> Interval:
    """Return an interval cut off at the values that are possible."""
    ends = np.clip([found.low, found.high], low, high)
    # Intervals are centred on a shrunken mean, so at a low confidence the mean itself
    # may lie outside.
    lowest = float(np.minimum(ends[0], found.mean))
    highest = float(np.maximum(ends[1], found.mean))
    return Interval(found.mean, lowest, highest, found.p_value)


def _n_tested(splits: list[Split]) -> int:
    """Return how many different images were tested."""
    return len(np.unique(np.concatenate([test for _, test in splits])))


def _mean_sizes(splits: list[Split]) -> tuple[float, float]:
    """Return the mean sizes of the training and test parts."""
    return (
        float(np.mean([len(train) for train, _ in splits])),
        float(np.mean([len(test) for _, test in splits])),
    )
