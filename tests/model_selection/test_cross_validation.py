"""Intervals of cross-validated scores: the corrected resampled t test."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from sktl.model_selection._cross_validation import corrected_interval, score_interval


def splits_of(n_train, n_test):
    """Return a split with as many rows."""
    return [(np.arange(n_train), np.arange(n_test))]


def test_is_the_t_interval_with_a_larger_error():
    # Nadeau and Bengio 2003: variance (1/J + n_test/n_train) s^2, J - 1 degrees.
    scores = [0.8, 0.9, 0.85, 0.95, 0.8]
    found = corrected_interval(scores, splits_of(80, 20))
    error = np.std(scores, ddof=1) * np.sqrt(1 / 5 + 20 / 80)
    assert_allclose([found.mean, found.high - found.mean], [0.86, 2.7764451 * error])
    assert_allclose(found.mean - found.low, found.high - found.mean)


def test_p_value_belongs_to_the_interval():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = rng.normal(0.1, 0.1, 10)
        found = corrected_interval(scores, splits_of(90, 10))
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


@pytest.mark.parametrize(("scores", "p"), [([0, 0, 0], 1), ([0.1, 0.1, 0.1], 0)])
def test_equal_scores_have_an_interval_of_no_width(scores, p):
    found = corrected_interval(scores, splits_of(2, 1))
    assert (found.low, found.high, found.p_value) == (scores[0], scores[0], p)


def test_one_split_has_no_interval():
    found = corrected_interval([0.7], splits_of(8, 2))
    assert found.mean == 0.7
    assert np.isnan([found.low, found.high, found.p_value]).all()


def test_scores_end_at_the_best_one_and_errors_do_not():
    scores = [0.99, 1.0, 1.0]
    assert score_interval(scores, splits_of(2, 1), "accuracy").high == 1
    assert score_interval(scores, splits_of(2, 1), "neg_log_loss").high > 1


def test_holds_the_true_score_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    X, y = make_classification(8000, 8, flip_y=0.2, random_state=0)
    held = 0
    for _ in range(60):
        rows = rng.permutation(8000)
        few, rest = rows[:100], rows[100:]
        head = LogisticRegression()
        scores = cross_val_score(head, X[few], y[few], cv=5)
        true = head.fit(X[few[:80]], y[few[:80]]).score(X[rest], y[rest])
        found = corrected_interval(scores, splits_of(80, 20))
        held += found.low <= true <= found.high
    assert held >= 54  # the usual interval, without the correction, holds 49


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 0.963, 1.0), (0.0, 0, 0.037)])
def test_folds_that_agree_leave_the_uncertainty_of_so_many_images(share, low, high):
    # Wilson's interval for 100 images, as in R: binom.confint(100, 100, "wilson").
    found = score_interval([share] * 5, splits_of(80, 20), "accuracy")
    assert (found.mean, found.low, found.high) == pytest.approx(
        (share, low, high), abs=5e-4
    )
    held_out_twice = score_interval([share] * 10, splits_of(80, 20), "accuracy")
    assert held_out_twice == found
    assert score_interval([share] * 5, splits_of(80, 20), "r2").low == share
