"""Cross-validation: targets, splits, one split of one candidate, and intervals."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, assert_all_finite
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import (
    check_consistent_length,
    column_or_1d,
    has_fit_parameter,
)

from sktl._blas import one_blas_thread
from sktl.engine import images_embedded

Split = tuple[np.ndarray, np.ndarray]

# Scores that are at most 1, by the start of their names.
_AT_MOST_ONE = (
    *("accuracy", "balanced_accuracy", "top_k_accuracy", "f1", "precision", "recall"),
    *("jaccard", "roc_auc", "average_precision", "r2", "R²", "matthews_corrcoef"),
    *("explained_variance", "d2_", "adjusted_", "v_measure"),
)
_SHARES_OF_IMAGES = ("accuracy", "balanced_accuracy", "top_k_accuracy")


def read_targets(X, y, groups, task: str) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Return targets, groups and the task; refuse what cannot be learned."""
    if y is None:
        raise ValueError("y is None. Pass one label or number for each image.")
    y = column_or_1d(y, warn=True)
    groups = None if groups is None else column_or_1d(groups)
    check_consistent_length(X, y, groups)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    if y.dtype == object and any(label is None or label != label for label in y):
        raise ValueError("y has missing labels. Leave those images out.")
    is_continuous = type_of_target(y, input_name="y").startswith("continuous")
    if task == "regression" or (task == "auto" and is_continuous):
        return y.astype(np.float64), groups, "regression"
    if is_continuous:
        raise ValueError(
            "y holds numbers with fractions, which are not classes. Pass "
            "task='regression', or turn the numbers into classes."
        )
    if len(np.unique(y)) < 2:
        raise ValueError(f"y has only one class, {y[0]!r}. Add images of others.")
    return y, groups, "classification"


def name_of_score(scoring, task: str) -> str:
    """Return the name of a score for a table."""
    if scoring is None:
        return "accuracy" if task == "classification" else "R²"
    return (
        scoring
        if isinstance(scoring, str)
        else getattr(scoring, "__name__", str(scoring))
    )


def make_splits(
    y: np.ndarray, groups: np.ndarray | None, task: str, cv, n_repeats: int, seed: int
) -> list[Split]:
    """Return the training and test rows of every fold of every repetition."""
    if not isinstance(cv, Integral):
        splitter = check_cv(cv, y, classifier=task == "classification")
        return list(splitter.split(np.zeros(len(y)), y, groups))
    cv = int(cv)
    if groups is not None and cv > (most := len(np.unique(groups))):
        raise ValueError(
            f"cv={cv} asks for more folds than groups. Pass cv={most} or less."
        )
    if task == "classification":
        _check_classes(y, groups, cv)
    splits: list[Split] = []
    for repeat in range(n_repeats):
        splits += _shuffled_folds(y, groups, task, cv, seed + repeat)
    return splits


def _check_classes(y: np.ndarray, groups: np.ndarray | None, cv: int) -> None:
    """Refuse classes that cannot be in the training and the test part of all folds."""
    classes, counts = np.unique(y, return_counts=True)
    if cv > counts.min():
        rare, most = classes[counts.argmin()], int(counts.min())
        advice = f"pass cv={most}, " if most > 1 else ""
        if y.dtype.kind in "iuf":
            advice += "pass task='regression' if y holds numbers, "
        raise ValueError(
            f"Class {rare!s} has {most} image{'s' * (most > 1)}, fewer than "
            f"cv={cv} folds. Add images of it, {advice}or leave the class out."
        )
    if groups is None:
        return
    for label in classes:
        found = np.unique(groups[y == label])
        if len(found) < 2:
            raise ValueError(
                f"All images of class {label!s} are in one group ({found[0]!s}), so "
                "no split can hold some in each part. Add images of it from another "
                "group, or leave the class out."
            )


def _inner_splits(
    y: np.ndarray, groups: np.ndarray | None, task: str, cv: int, seed: int
) -> list[Split]:
    """Return splits of a training part, with fewer folds where ``cv`` is too many."""
    if task == "classification":
        cv = min(cv, np.unique(y, return_counts=True)[1].min())
    if groups is not None:
        cv = min(cv, len(np.unique(groups)))
    cv = int(min(cv, len(y)))
    return _shuffled_folds(y, groups, task, cv, seed) if cv >= 2 else []


def _shuffled_folds(
    y: np.ndarray, groups: np.ndarray | None, task: str, cv: int, seed: int
) -> list[Split]:
    """Return shuffled folds, stratified by class, that keep groups together."""
    if task == "classification":
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    else:
        kind = KFold if groups is None else GroupKFold
    splitter = kind(cv, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(y)), y, groups))


@dataclass
class SplitResult:
    """The results of a candidate on the test rows of one split, and their cost."""

    score: float
    predictions: np.ndarray
    probabilities: np.ndarray | None
    params: dict
    fit_seconds: float
    predict_seconds: float
    embedded: int
    n_bytes: int
    warnings: list[str]


@dataclass(frozen=True)
class NestedCrossValidation:
    """How every candidate is fitted, with an inner search, and scored."""

    task: str
    classes: np.ndarray | None
    scorer: Callable
    inner_cv: int
    seed: int

    @one_blas_thread()
    def fit(self, model, grid: dict, X, y, groups) -> tuple[BaseEstimator, dict]:
        """Return the model fitted with the best parameters of an inner search."""
        splits = _inner_splits(y, groups, self.task, self.inner_cv, self.seed)
        if grid and splits:
            search = GridSearchCV(model, grid, cv=splits, scoring=self.scorer)
            search.fit(X, y)
            return search.best_estimator_, search.best_params_
        last, prefix = model, ""
        if isinstance(model, Pipeline):
            last, prefix = model[-1], f"{model.steps[-1][0]}__"
        given = {}
        if groups is not None and has_fit_parameter(last, "groups"):
            given = {f"{prefix}groups": groups}
        return clone(model).fit(X, y, **given), {}

    def on_split(self, model, grid: dict, X, y, groups, split: Split) -> SplitResult:
        """Fit a model to the training rows and score it on the test rows."""
        train, test = split
        X_train, X_test = _safe_indexing(X, train), _safe_indexing(X, test)
        groups = None if groups is None else groups[train]
        embedded = images_embedded()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            started = time.perf_counter()
            fitted, params = self.fit(model, grid, X_train, y[train], groups)
            fit_seconds = time.perf_counter() - started
            started = time.perf_counter()
            predictions = np.asarray(fitted.predict(X_test))
            predict_seconds = time.perf_counter() - started
            score = float(self.scorer(fitted, X_test, y[test]))
            probabilities = self._probabilities(fitted, X_test)
        return SplitResult(
            score,
            predictions,
            probabilities,
            params,
            fit_seconds,
            predict_seconds,
            embedded=images_embedded() - embedded,
            n_bytes=len(pickle.dumps(fitted)),
            warnings=[
                " ".join(str(warning.message).split())
                for warning in caught
                if issubclass(warning.category, UserWarning | RuntimeWarning)
            ],
        )

    def _probabilities(self, fitted, X) -> np.ndarray | None:
        """Return probabilities with a column for each class, trained on or not."""
        if self.classes is None or not hasattr(fitted, "predict_proba"):
            return None
        given = fitted.predict_proba(X)
        found = np.zeros((len(given), len(self.classes)))
        found[:, np.searchsorted(self.classes, fitted.classes_)] = given
        return found


@dataclass(frozen=True)
class Interval:
    """A mean over splits with its confidence interval.

    ``p_value`` is two-sided, for the hypothesis that the mean is 0.
    """

    mean: float
    low: float
    high: float
    p_value: float


def corrected_interval(
    scores, splits: list[Split], confidence: float = 0.95
) -> Interval:
    """Return mean and interval of scores, by the corrected resampled t test.

    Training sets of different folds overlap, so their scores are not independent and
    the usual standard error is far too small. Nadeau and Bengio's correction adds the
    share of the test set to it: https://doi.org/10.1023/A:1024068626366.
    """
    scores = np.asarray(scores, dtype=np.float64)
    n, mean = len(scores), float(scores.mean())
    if n < 2 or not np.isfinite(scores).all():
        return Interval(mean, np.nan, np.nan, np.nan)
    if np.ptp(scores) == 0:
        same = float(scores[0])
        return Interval(same, same, same, 1.0 if same == 0 else 0.0)
    n_train, n_test = _mean_sizes(splits)
    error = float(np.sqrt(scores.var(ddof=1) * (1 / n + n_test / n_train)))
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return Interval(mean, mean - half, mean + half, p_value)


def score_interval(
    scores, splits: list[Split], scoring: str, confidence: float = 0.95
) -> Interval:
    """Return mean and interval of scores, cut off at the best possible score.

    If all folds agree, they say nothing about the spread. The interval of a share of
    images then follows from the number of images alone.
    """
    found = corrected_interval(scores, splits, confidence)
    if found.low == found.high and scoring.startswith(_SHARES_OF_IMAGES):
        n_train, n_test = _mean_sizes(splits)
        n = round(min(n_train + n_test, n_test * len(scores)))
        right = stats.binomtest(round(found.mean * n), n)
        low, high = right.proportion_ci(confidence, method="wilson")
        found = replace(found, low=float(low), high=float(high))
    if is_at_most_one(scoring) and found.high > 1:
        return replace(found, high=1.0)
    return found


def is_at_most_one(scoring: str) -> bool:
    """Tell whether 1 is the best value of a score, by its name."""
    return scoring.startswith(_AT_MOST_ONE)


def _mean_sizes(splits: list[Split]) -> tuple[float, float]:
    """Return the mean sizes of the training and test parts."""
    return (
        float(np.mean([len(train) for train, _ in splits])),
        float(np.mean([len(test) for _, test in splits])),
    )
