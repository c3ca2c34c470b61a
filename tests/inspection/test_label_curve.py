"""LabelCurveDisplay: balanced, nested, paired draws, and scores that check out."""

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from sktl.inspection import LabelCurveDisplay
from sktl.inspection._label_curve import draw_labels

Y = np.repeat(["a", "b", "c"], (40, 20, 12))
X = (
    np.random.default_rng(0).normal(size=(72, 3))
    + np.repeat([0, 1, 2], (40, 20, 12))[:, None]
)
CALLS = []


class Watched(ClassifierMixin, BaseEstimator):
    """Remembers what it was fitted to and scored on; X is the row number."""

    def __init__(self, name="one"):
        self.name = name

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.n_ = len(y)
        CALLS.append((self.name, tuple(X[:, 0]), tuple(counts)))
        return self

    def predict(self, X):
        CALLS.append((self.name, tuple(X[:, 0]), "scored"))
        return np.full(len(X), self.classes_[0])


@pytest.fixture
def calls():
    """Return what Watched saw."""
    CALLS.clear()
    return CALLS


def test_draws_are_balanced_paired_and_held_out(calls):
    rows = np.arange(72)[:, None]
    LabelCurveDisplay.from_estimator(
        {"one": Watched("one"), "two": Watched("two")}, rows, Y, n_labels=[1, 4], cv=3
    )
    fits = [call for call in calls if call[2] != "scored"]
    scored = [call for call in calls if call[2] == "scored"]
    assert [counts for _, _, counts in fits] == [(1,) * 3] * 3 + [(4,) * 3] * 3 + [
        (1,) * 3
    ] * 3 + [(4,) * 3] * 3
    for fit, test in zip(fits, scored, strict=True):
        assert not set(fit[1]) & set(test[1])
    assert [rows for _, rows, _ in fits[:6]] == [rows for _, rows, _ in fits[6:]]
    for few, many in zip(fits[:3], fits[3:6], strict=True):
        assert set(few[1]) < set(many[1])


def test_mean_and_spread_are_those_of_the_draws():
    display = LabelCurveDisplay.from_estimator(
        [LogisticRegression(), KNeighborsClassifier(1)], X, Y, n_labels=(1, 2, 5), cv=6
    )
    assert list(display.scores) == ["LogisticRegression", "KNeighborsClassifier"]
    for name, scores in display.scores.items():
        assert scores.shape == (3, 6)
        x, y = display.lines_[name].get_data()
        assert_array_equal(x, [1, 2, 5])
        assert_allclose(y, scores.mean(axis=1))
        edge = display.bands_[name].get_paths()[0].vertices
        top = edge[edge[:, 0] == 5][:, 1].max()
        assert_allclose(top, scores[2].mean() + scores[2].std())
    assert display.ax_.get_xscale() == "log"


def test_scores_equal_a_fit_by_hand():
    splitter = StratifiedKFold(3)
    display = LabelCurveDisplay.from_estimator(
        LogisticRegression(), X, Y, n_labels=[8], cv=splitter, scoring="f1_macro"
    )
    from sklearn.metrics import f1_score

    codes = np.unique(Y, return_inverse=True)[1]
    rng = np.random.RandomState(0)
    expected = []
    for train, test in splitter.split(X, Y):
        (rows,) = draw_labels(train, codes, [8], rng)
        model = LogisticRegression().fit(X[rows], Y[rows])
        expected.append(f1_score(Y[test], model.predict(X[test]), average="macro"))
    assert_allclose(display.scores["LogisticRegression"][0], expected)
    assert display.score_name == "f1 macro"


def test_scores_of_one_class_are_means_over_named_classes():
    settings = {"n_labels": [2, 8], "cv": 3}
    display = LabelCurveDisplay.from_estimator(
        LogisticRegression(), X, Y, scoring="f1", **settings
    )
    expected = LabelCurveDisplay.from_estimator(
        LogisticRegression(), X, Y, scoring="f1_macro", **settings
    )
    scores = "LogisticRegression"
    assert_allclose(display.scores[scores], expected.scores[scores])
    assert display.score_name == "f1 macro"


def test_bands_hold_only_possible_scores():
    scores = {"model": np.array([[0.4, 1.0, 1.0]] * 2)}  # 0.8 ± 0.28
    for name, highest in {"accuracy": 1.0, "score of my own": 1.083}.items():
        display = LabelCurveDisplay(np.array([1, 5]), scores, score_name=name).plot()
        ends = display.bands_["model"].get_paths()[0].vertices[:, 1]
        assert ends.max() == pytest.approx(highest, abs=1e-3)


def test_same_seed_same_scores_with_any_n_jobs():
    with parallel_config("threading"):  # processes take seconds to start
        one, two = (
            LabelCurveDisplay.from_estimator(
                LogisticRegression(), X, Y, n_labels=[2], cv=4, n_jobs=n_jobs
            )
            for n_jobs in (1, 2)
        )
    assert_array_equal(
        one.scores["LogisticRegression"], two.scores["LogisticRegression"]
    )


def test_groups_stay_on_one_side(calls):
    groups = np.arange(72) % 6
    rows = np.arange(72)[:, None]
    LabelCurveDisplay.from_estimator(
        Watched(), rows, Y, n_labels=[2], cv=GroupKFold(3), groups=groups
    )
    for fit, test in zip(calls[::2], calls[1::2], strict=True):
        assert not set(groups[list(fit[1])]) & set(groups[list(test[1])])


def test_auto_goes_as_far_as_the_smallest_class():
    display = LabelCurveDisplay.from_estimator(LogisticRegression(), X, Y, cv=2)
    assert_array_equal(display.n_labels, [1, 2, 5])  # 12 images, 70 % to learn from


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"asks for 50 labels .* class has 8"):
        LabelCurveDisplay.from_estimator(LogisticRegression(), X, Y, n_labels=[50])
    with pytest.raises(ValueError, match="regression"):
        LabelCurveDisplay.from_estimator(LogisticRegression(), X, X[:, 0])
    with pytest.raises(ValueError, match="numbers from 1 on"):
        LabelCurveDisplay.from_estimator(LogisticRegression(), X, Y, n_labels=[0])
