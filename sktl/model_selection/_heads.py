"""Heads by name: what is trained on frozen features, and the values to search."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR, LinearSVC

# A head and the values worth trying on 500 to 2000 standardised features: strong
# regularisation, since there are often more features than images. The probe is cheap:
# one setting, or one decomposition.
Head = tuple[Callable[..., BaseEstimator], dict[str, list]]

_NEIGHBORS = {"n_neighbors": [1, 5, 15]}
_FOREST = {"max_features": ["sqrt", 0.2]}

_HEADS: dict[str, dict[str, Head]] = {
    "classification": {
        "logistic": (
            lambda: LogisticRegression(max_iter=1000),
            {"C": [0.01, 0.1, 1.0]},
        ),
        "svc": (SVC, {"C": [1.0, 10.0]}),
        "linear_svc": (LinearSVC, {"C": [0.0001, 0.001, 0.01]}),
        "knn": (KNeighborsClassifier, _NEIGHBORS),
        "forest": (RandomForestClassifier, _FOREST),
        "probe": (lambda: LogisticRegression(C=0.1, max_iter=1000), {}),
    },
    "regression": {
        "ridge": (Ridge, {"alpha": [1.0, 10.0, 100.0, 1000.0]}),
        "svr": (SVR, {"C": [1.0, 10.0, 100.0]}),
        "knn": (KNeighborsRegressor, _NEIGHBORS),
        "forest": (RandomForestRegressor, _FOREST),
        "probe": (lambda: RidgeCV(np.logspace(-1, 5, 13)), {}),
    },
}


def default_heads(task: str) -> tuple[str, str]:
    """Return the linear head and the kernel machine that are tried by default."""
    return ("logistic", "svc") if task == "classification" else ("ridge", "svr")


def read_head(head, task: str, random_state) -> tuple[str, BaseEstimator, dict]:
    """Return the name, the estimator and the grid that ``head`` stands for.

    ``head`` is a name, an estimator, or a pair of an estimator and its grid.
    """
    if isinstance(head, str):
        if head not in _HEADS[task]:
            raise ValueError(
                f"heads: {head!r} is not known for {task}. Pass one of "
                f"{', '.join(_HEADS[task])}, an estimator, or a pair (estimator, grid)."
            )
        make, grid = _HEADS[task][head]
        estimator = make()
        if "random_state" in estimator.get_params(deep=False):
            estimator.set_params(random_state=random_state)
        return head, estimator, grid
    is_pair = isinstance(head, tuple | list) and len(head) == 2
    estimator, grid = head if is_pair else (head, {})
    if not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
        raise ValueError(
            f"heads: {head!r} is not a head. Pass a name, an estimator, or a pair "
            "(estimator, grid)."
        )
    return type(estimator).__name__, clone(estimator), grid
