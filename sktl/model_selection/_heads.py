"""Heads by name: what is trained on frozen features, and over which values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR, LinearSVC

# A head and the values worth trying on standardised embeddings of 500 to 2000 numbers:
# strong regularisation, since there are often more features than images.
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
    },
    "regression": {
        "ridge": (Ridge, {"alpha": [1.0, 10.0, 100.0, 1000.0]}),
        "svr": (SVR, {"C": [1.0, 10.0, 100.0]}),
        "knn": (KNeighborsRegressor, _NEIGHBORS),
        "forest": (RandomForestRegressor, _FOREST),
    },
}


def head_and_grid(head, task: str, random_state) -> tuple[BaseEstimator, dict]:
    """Return the estimator and the grid that ``head`` stands for.

    ``head`` is a name, an estimator, or a pair of an estimator and its grid.
    """
    if isinstance(head, str):
        heads = _HEADS[task]
        if head not in heads:
            raise ValueError(
                f"heads: {head!r} is not known for {task}. Names are "
                f"{', '.join(heads)}; an estimator, or a pair (estimator, grid), "
                "serves as well."
            )
        make, grid = heads[head]
        estimator = make()
        if "random_state" in estimator.get_params(deep=False):
            estimator.set_params(random_state=random_state)
        return estimator, dict(grid)
    grid = {}
    if (
        isinstance(head, tuple | list)
        and len(head) == 2
        and isinstance(head[1], Mapping)
    ):
        head, grid = head
    if not hasattr(head, "fit") or not hasattr(head, "get_params"):
        raise ValueError(
            f"heads: {head!r} is no head. Give a name, an estimator, or a pair "
            "(estimator, grid)."
        )
    return clone(head), dict(grid)


def name_of_head(head) -> str:
    """Return what to call a head in a table."""
    if isinstance(head, str):
        return head
    if isinstance(head, tuple | list):
        head = head[0]
    return type(head).__name__
