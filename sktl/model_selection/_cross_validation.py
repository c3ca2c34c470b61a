"""Cross-validation: targets, splits, and one split of one candidate."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn import config_context
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
                f"All images of class {label!s} are in one group, or copies of each "
                "other, so no split can hold some in each part. Add images of it from "
                "another group, or leave the class out."
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
        last, prefix = model, ""
        if isinstance(model, Pipeline):
            last, prefix = model[-1], f"{model.steps[-1][0]}__"
        given = {}
        if groups is not None and has_fit_parameter(last, "groups"):
            given = {f"{prefix}groups": groups}
        with config_context(enable_metadata_routing=False):
            if grid and splits:
                search = GridSearchCV(model, grid, cv=splits, scoring=self.scorer)
                search.fit(X, y, **given)
                return search.best_estimator_, search.best_params_
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
