"""What the scores of a cross-validation say about the mean, and what they do not.

Training sets of different folds overlap, so their scores are not independent and the
usual standard error is far too small. Nadeau and Bengio's correction adds the share of
the test set to it: https://doi.org/10.1023/A:1024068626366.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

# Scores that are at most 1, by how their names begin: intervals around them end there.
_AT_MOST_ONE = (
    *("accuracy", "balanced_accuracy", "top_k_accuracy", "f1", "precision", "recall"),
    *("jaccard", "roc_auc", "average_precision", "r2", "R²", "matthews_corrcoef"),
    *("explained_variance", "d2_", "adjusted_", "v_measure"),
)
_SHARES_OF_IMAGES = ("accuracy", "balanced_accuracy", "top_k_accuracy")


@dataclass(frozen=True)
class Interval:
    """A mean over folds with its confidence interval.

    Attributes
    ----------
    mean, low, high : float
        The mean of the scores and the ends of the interval around it.
    p_value : float
        Two-sided, for the hypothesis that the mean is 0: of use for differences.
    """

    mean: float
    low: float
    high: float
    p_value: float


def corrected_interval(
    scores, n_train: float, n_test: float, confidence: float = 0.95
) -> Interval:
    """Return mean and interval of scores, by the corrected resampled t test.

    Parameters
    ----------
    scores : array-like of shape (n_splits,)
        Scores of one estimator, or paired differences of two.
    n_train, n_test : float
        Images in the training and in the test part, on average.
    confidence : float, default=0.95
        Probability that such an interval holds the mean.
    """
    scores = np.asarray(scores, dtype=np.float64)
    n, mean = len(scores), float(scores.mean())
    if n < 2 or not np.isfinite(scores).all():
        return Interval(mean, np.nan, np.nan, np.nan)
    if np.ptp(scores) == 0:
        same = float(scores[0])
        return Interval(same, same, same, 1.0 if same == 0 else 0.0)
    variance = scores.var(ddof=1) * (1 / n + n_test / n_train)
    error = float(np.sqrt(variance))
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return Interval(mean, mean - half, mean + half, p_value)


def score_interval(
    scores, n_train: float, n_test: float, scoring: str, confidence: float = 0.95
) -> Interval:
    """Return mean and interval of scores, which ends at the best possible score.

    Folds that all agree say nothing about the spread between folds. A share of images
    that are right is then as uncertain as so many images make it.
    """
    found = corrected_interval(scores, n_train, n_test, confidence)
    if found.low == found.high and scoring.startswith(_SHARES_OF_IMAGES):
        n = min(n_train + n_test, n_test * len(scores))
        found = replace(found, **_share_interval(found.mean, n, confidence))
    if scoring.startswith(_AT_MOST_ONE) and found.high > 1:
        return replace(found, high=1.0)
    return found


def _share_interval(share: float, n: float, confidence: float) -> dict[str, float]:
    """Return the ends of Wilson's interval around a share of ``n`` images."""
    z2 = float(stats.norm.ppf(0.5 + confidence / 2)) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return {"low": max(0.0, float(middle - half)), "high": float(middle + half)}
