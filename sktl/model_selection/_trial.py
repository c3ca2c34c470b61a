"""One contender on one split: choose, fit, predict, score, and what it cost."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import has_fit_parameter

from sktl._blas import one_blas_thread
from sktl.engine import images_embedded
from sktl.model_selection._question import Split, inner_splits


@dataclass
class Trial:
    """What one contender did on one split.

    Parameters
    ----------
    score : float
        On the test rows.
    predictions : ndarray
        For the test rows.
    probabilities : ndarray or None
        One column for each class, if the estimator gives them.
    params : dict
        The parameters that were chosen.
    fit_seconds, predict_seconds : float
        Time for the choice and the fit, and for the predictions.
    embedded : int
        Images that went through a network.
    n_bytes : int
        Size of the pickled model.
    warnings : list of str
        What was warned of.
    """

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
class Rules:
    """What is the same for all contenders.

    Parameters
    ----------
    task : {"classification", "regression"}
        The question.
    classes : ndarray or None
        All classes, in order.
    scorer : callable
        ``scorer(estimator, X, y)``.
    inner_cv : int
        Folds on which parameters are chosen.
    seed : int
        Shuffles these folds.
    """

    task: str
    classes: np.ndarray | None
    scorer: Callable
    inner_cv: int
    seed: int


def run_trial(
    model: BaseEstimator, grid: dict, X, y, groups, split: Split, rules: Rules
) -> Trial:
    """Fit a model to the training rows and judge it on the test rows."""
    train, test = split
    X_train, X_test = _safe_indexing(X, train), _safe_indexing(X, test)
    embedded = images_embedded()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.perf_counter()
        fitted, params = fit_chosen(
            model,
            grid,
            X_train,
            y[train],
            None if groups is None else groups[train],
            rules,
        )
        fit_seconds = time.perf_counter() - started
        started = time.perf_counter()
        predictions = fitted.predict(X_test)
        predict_seconds = time.perf_counter() - started
        score = rules.scorer(fitted, X_test, y[test])
        probabilities = _probabilities(fitted, X_test, rules.classes)
    return Trial(
        score=float(score),
        predictions=np.asarray(predictions),
        probabilities=probabilities,
        params=params,
        fit_seconds=fit_seconds,
        predict_seconds=predict_seconds,
        embedded=images_embedded() - embedded,
        n_bytes=len(pickle.dumps(fitted)),
        warnings=_worth_telling(caught),
    )


@one_blas_thread()
def fit_chosen(
    model: BaseEstimator, grid: dict, X, y, groups, rules: Rules
) -> tuple[BaseEstimator, dict]:
    """Return the model fitted with the best parameters of an inner search."""
    splits = inner_splits(y, groups, rules.task, rules.inner_cv, rules.seed)
    if not grid or not splits:
        fitted = clone(model)
        told = {}
        if groups is not None and has_fit_parameter(fitted, "groups"):
            told["groups"] = groups
        return fitted.fit(X, y, **told), {}
    search = GridSearchCV(model, grid, cv=splits, scoring=rules.scorer)
    search.fit(X, y)
    return search.best_estimator_, search.best_params_


def _probabilities(fitted, X, classes: np.ndarray | None) -> np.ndarray | None:
    """Return probabilities with one column for each class of the question."""
    if classes is None or not hasattr(fitted, "predict_proba"):
        return None
    given = fitted.predict_proba(X)
    found = np.zeros((len(given), len(classes)))
    found[:, np.searchsorted(classes, fitted.classes_)] = given
    return found


def _worth_telling(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return the messages of warnings that concern the user."""
    return [
        " ".join(str(warning.message).split())
        for warning in caught
        if issubclass(warning.category, UserWarning | RuntimeWarning)
    ]
