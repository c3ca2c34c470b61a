"""Intervals of cross-validated scores and of their differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from sktl.model_selection._intervals import (
    corrected_interval,
    difference_interval,
    score_interval,
)


def splits_of(n_train, n_test):
    """Return the folds of a cross-validation with parts of these sizes."""
    rows = np.arange(n_train + n_test)
    tests = np.split(rows, range(n_test, len(rows), n_test))
    return [(np.setdiff1d(rows, test), test) for test in tests]


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


def test_scores_that_do_not_vary_have_no_error():
    for scores in ([0.0] * 3, [0.1] * 3):
        found = corrected_interval(scores, splits_of(2, 1))
        assert np.isnan([found.low, found.high, found.p_value]).all()


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro"])
def test_equal_differences_in_all_folds_are_not_certain(scoring):
    # One image of 20 in each of five folds: McNemar's exact test gives 2 / 2**5.
    found = difference_interval([0.05] * 5, splits_of(80, 20), scoring)
    assert 0.06 < found.p_value < 0.12
    assert -0.02 < found.low < 0 < 0.09 < found.high < 0.12
    none = difference_interval([0.0] * 5, splits_of(80, 20), scoring)
    assert none.p_value == 1
    assert -0.04 < none.low < -0.01 < 0.01 < none.high < 0.04
    many = difference_interval([0.05] * 5, splits_of(800, 200), scoring)
    assert many.p_value < 0.001


def test_the_difference_of_two_accuracies_is_that_of_mcnemar():
    # 30 images only the first gets right and 10 only the second, of 150 that count.
    found = difference_interval([0.1] * 5, splits_of(160, 40), "accuracy", apart=0.2)
    mean, variance = 20 / 202, 41 / 202 - (20 / 202) ** 2
    half = 1.959964 * np.sqrt(1.5 * variance / 200)
    assert_allclose(
        [found.mean, found.low, found.high], [0.1, mean - half, mean + half]
    )


def test_errors_of_any_size_say_nothing_if_they_do_not_vary():
    found = difference_interval([0.5] * 5, splits_of(80, 20), "neg_log_loss")
    assert np.isnan([found.low, found.high, found.p_value]).all()


@pytest.mark.parametrize("grouped", [False, True])
def test_both_ends_are_possible_values(grouped):
    scores = [0.0, 0.1, 1.0]
    for scoring, low in [("accuracy", 0), ("f1", 0), ("matthews_corrcoef", -1)]:
        found = score_interval(scores, splits_of(4, 2), scoring, grouped=grouped)
        assert low <= found.low <= found.mean <= found.high <= 1
    assert score_interval(scores, splits_of(4, 2), "r2").low < -1
    found = difference_interval([-1, -0.9, 0], splits_of(4, 2), "f1", grouped=grouped)
    assert found.low == -1
    assert found.mean < found.high <= 1


def test_images_in_groups_have_the_wider_interval_of_the_folds():
    scores, splits = [0.5, 0.9, 0.7, 1.0, 0.6], splits_of(80, 20)
    loose = score_interval(scores, splits, "accuracy")
    grouped = score_interval(scores, splits, "accuracy", grouped=True)
    assert grouped.high - grouped.low > 1.5 * (loose.high - loose.low)
    assert grouped.low == corrected_interval(scores, splits).low


def test_one_split_has_an_interval_only_if_images_are_counted():
    for found in (
        corrected_interval([0.7], splits_of(80, 20)[:1]),
        score_interval([0.7], splits_of(80, 20)[:1], "r2"),
    ):
        assert found.mean == 0.7
        assert np.isnan([found.low, found.high, found.p_value]).all()
    found = score_interval([0.7], splits_of(80, 20)[:1], "accuracy")
    assert 0.4 < found.low < 0.5 < 0.85 < found.high < 0.9


def test_holds_the_true_score_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    X, y = make_classification(8000, 8, flip_y=0.2, random_state=0)
    held, width = {"t": 0, "share": 0}, {"t": 0.0, "share": 0.0}
    for _ in range(100):
        rows = rng.permutation(8000)
        few, rest = rows[:100], rows[100:]
        head = LogisticRegression()
        scores = cross_val_score(head, X[few], y[few], cv=5)
        true = head.fit(X[few], y[few]).score(X[rest], y[rest])
        for name, found in {
            "t": corrected_interval(scores, splits_of(80, 20)),
            "share": score_interval(scores, splits_of(80, 20), "accuracy"),
        }.items():
            held[name] += found.low <= true <= found.high
            width[name] += found.high - found.low
    assert min(held.values()) >= 93
    assert width["share"] < 0.75 * width["t"]


@pytest.mark.parametrize(
    ("share", "low", "high"), [(1.0, 0.9455, 1.0), (0.0, 0, 0.0545)]
)
def test_folds_that_agree_leave_the_uncertainty_of_so_many_images(share, low, high):
    # Wilson's interval for 100 / 1.5 images, as in R: z^2 / (n + z^2) wide.
    found = score_interval([share] * 5, splits_of(80, 20), "accuracy")
    assert (found.mean, found.low, found.high) == pytest.approx(
        (share, low, high), abs=1e-4
    )
    held_out_twice = score_interval([share] * 10, splits_of(80, 20) * 2, "accuracy")
    assert held_out_twice == found


def test_images_that_are_tested_again_count_once():
    again = score_interval([0.9] * 5, splits_of(80, 20)[:1] * 5, "accuracy")
    once = score_interval([0.9], splits_of(80, 20)[:1], "accuracy")
    assert (again.low, again.high) == (once.low, once.high)
