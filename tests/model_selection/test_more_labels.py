"""LabelCurve: the same candidate, fitted to parts of the training rows."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from sktl.model_selection._candidates import Candidate
from sktl.model_selection._cross_validation import NestedCrossValidation, make_splits
from sktl.model_selection._more_labels import measure_label_curve
from sktl.model_selection._scores import read_scoring


def label_curve(head: BaseEstimator, X, y, task="classification", groups=None):
    """Return the curve of a head and the splits that were asked for."""
    scoring, scorer = read_scoring(None, y, task)
    splits = make_splits(y, groups, task, 5, 1, 0)
    classes = np.unique(y) if task == "classification" else None
    nested = NestedCrossValidation(task, classes, scorer, inner_cv=3, seed=0)
    candidate, asked = Candidate("head", "frozen", None, head), []

    def fit(some):
        asked.append(some)
        return [nested.on_split(head, {}, X, y, None, split) for split in some]

    candidate.results = fit(splits)
    curve = measure_label_curve(
        *(candidate, fit, y, splits, groups),
        **{"task": task, "scoring": scoring, "confidence": 0.95},
    )
    return curve, asked


def test_more_labels_help_as_long_as_the_score_rises():
    rng = np.random.default_rng(0)
    y = np.arange(1200) % 2
    hard = rng.normal(size=(1200, 400)) + 0.15 * y[:, None]
    easy = rng.normal(size=(1200, 3)) + 20 * y[:, None]
    curve, _ = label_curve(LogisticRegression(), hard, y)
    assert curve.sizes == [120, 240, 480, 960]
    assert curve.gain.low > 0
    assert "twice as many labels may bring" in str(curve)
    curve, _ = label_curve(LogisticRegression(), easy, y)
    assert curve.scores.min() == 1
    assert "bring little" in str(curve)


def test_parts_are_nested_and_hold_every_class_on_the_same_test_rows():
    y = np.array([0] * 300 + [1] * 50)
    X = np.random.default_rng(0).normal(size=(350, 2))
    curve, (splits, *parts) = label_curve(KNeighborsClassifier(1), X, y)
    assert len(parts) == len(curve.sizes) - 1 == 3
    for step, smaller, larger in zip(
        (8, 4, 2), parts, [*parts[1:], splits], strict=True
    ):
        for (few, test), (many, same), (train, _) in zip(
            smaller, larger, splits, strict=True
        ):
            np.testing.assert_array_equal(test, same)
            assert set(few) < set(many) <= set(train)
            np.testing.assert_allclose(
                np.bincount(y[few]), np.bincount(y[train]) / step, atol=1
            )


def test_too_few_labels_have_no_curve():
    rng = np.random.default_rng(0)
    y = np.arange(12) % 2
    assert label_curve(LogisticRegression(), rng.normal(size=(12, 2)), y)[0] is None
    y = rng.normal(size=12)
    curve, _ = label_curve(Ridge(), rng.normal(size=(12, 2)), y, "regression")
    assert curve is None


def test_numbers_have_a_curve_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    curve, _ = label_curve(Ridge(), X, X[:, 0], "regression")
    assert curve.sizes == [40, 80, 160, 320]
    assert curve.scores[-1].mean() == pytest.approx(1, abs=1e-3)
    assert "bring little" in str(curve)


def test_groups_are_halved_whole():
    # More frames of the same films would say nothing about more films.
    groups = np.repeat(np.arange(120), 6)
    X, y = np.random.default_rng(0).normal(size=(720, 3)), groups % 2
    curve, asked = label_curve(LogisticRegression(), X, y, groups=groups)
    assert curve.sizes == [72, 144, 288, 576]
    for some in asked:
        for train, _ in some:
            counts = np.unique(groups[train], return_counts=True)[1]
            assert (counts == 6).all()
