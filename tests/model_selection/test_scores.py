"""Scores by name: one rule for those of a single class, and the values they take."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, get_scorer, make_scorer
from sklearn.metrics import precision_score as precision

from sktl.model_selection import compare
from sktl.model_selection._scores import bounds_of, read_scoring

CATS = np.array(["cat", "dog"] * 10)


@pytest.mark.parametrize("score", ["f1", "precision", "recall", "jaccard"])
@pytest.mark.parametrize(
    ("y", "suffix"),
    [
        (CATS, "_macro"),
        (np.array(["a", "b", "c"] * 5), "_macro"),
        (np.array([1, 2] * 5), "_macro"),
        (np.array(["0", "1"] * 5), "_macro"),
        (np.array([0, 1, 2] * 5), "_macro"),
        (np.array([0, 1] * 5), ""),
        (np.array([-1, 1] * 5), ""),
        (np.array([False, True] * 5), ""),
    ],
)
def test_scores_of_one_class_are_means_unless_a_class_is_called_1(score, y, suffix):
    name, scorer = read_scoring(score, y, "classification")
    assert name == score + suffix
    X = np.random.default_rng(0).normal(size=(len(y), 3))
    head = LogisticRegression().fit(X, y)
    assert scorer(head, X, y) == get_scorer(score + suffix)(head, X, y)


@pytest.mark.parametrize(
    ("score", "y"),
    [
        ("roc_auc", np.array(["a", "b", "c"] * 5)),
        ("average_precision", CATS),
    ],
)
def test_a_score_that_does_not_suit_the_classes_is_refused_with_a_remedy(score, y):
    with pytest.raises(ValueError, match=f"scoring='{score}' .*Pass a score of"):
        read_scoring(score, y, "classification")


def test_scores_of_numbers_and_own_scorers_are_taken_as_they_are():
    y = np.array([0.5, 1.5, 2.5])
    assert read_scoring(None, y, "regression")[0] == "R²"
    assert read_scoring(None, CATS, "classification")[0] == "accuracy"
    with pytest.raises(ValueError, match="Pass a score for such numbers"):
        read_scoring("neg_mean_squared_log_error", y - 3, "regression")
    own = make_scorer(precision, pos_label="dog")
    assert read_scoring(own, CATS, "classification")[1] is own


def test_values_of_a_score_by_its_name():
    assert bounds_of("accuracy") == bounds_of("f1_macro") == (0, 1)
    assert bounds_of("matthews_corrcoef") == (-1, 1)
    assert bounds_of("R²") == (-np.inf, 1)
    assert bounds_of("neg_log_loss") == (-np.inf, 0)
    assert bounds_of("loss of my own") == (-np.inf, np.inf)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_compare_scores_names_of_classes_by_f1(n_classes):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    y = np.array(["cat", "dog", "eel"])[np.arange(30) % n_classes]
    found = compare(
        X,
        y,
        backbones=["lenet5"],
        heads=["logistic"],
        unfreeze=None,
        baselines=None,
        duplicates="ignore",
        scoring="f1",
        cv=3,
    )
    assert found.scoring == "f1_macro"
    assert "f1_macro" in repr(found)
    (name,) = found.scores_
    expected = [
        f1_score(y[test], found.predictions_[name][test], average="macro")
        for _, test in found.splits_
    ]
    np.testing.assert_allclose(found.scores_[name], expected)


def test_a_function_of_the_users_own_may_take_any_values():
    assert bounds_of("accuracy_percent") == (-np.inf, np.inf)
    assert bounds_of("balanced_accuracy") == (0.0, 1.0)
