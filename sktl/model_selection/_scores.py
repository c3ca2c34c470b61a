"""Scores by name: the one that suits the targets, and the values it can take."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import check_scoring, get_scorer_names

# Scores of the class called 1. Where no class is, their mean over classes is taken.
_OF_ONE_CLASS = ("f1", "precision", "recall", "jaccard")
# The lowest and the highest value, by the start of the name.
_BOUNDS = {
    (0.0, 1.0): (
        *("accuracy", "balanced_accuracy", "top_k_accuracy", "f1", "precision"),
        *("recall", "jaccard", "roc_auc", "average_precision", "v_measure"),
    ),
    (-1.0, 1.0): ("matthews_corrcoef", "adjusted_"),
    (-np.inf, 1.0): ("r2", "R²", "explained_variance", "d2_"),
    (-np.inf, 0.0): ("neg_",),
}
# A function of the user's own may take any values, whatever its name.
_KNOWN = {"R²", *get_scorer_names()}


def read_scoring(scoring, y: np.ndarray, task: str) -> tuple[str, Callable]:
    """Return the name of a score and its scorer; refuse one that does not suit y.

    ``"f1"``, ``"precision"``, ``"recall"`` and ``"jaccard"`` become ``"f1_macro"``, ...
    unless the classes are 0 and 1, or -1 and 1.
    """
    is_classes = task == "classification"
    dummy = DummyClassifier(strategy="prior") if is_classes else DummyRegressor()
    if scoring is None:
        return "accuracy" if is_classes else "R²", check_scoring(dummy)
    if not isinstance(scoring, str):
        name = getattr(scoring, "__name__", str(scoring))
        return name, check_scoring(dummy, scoring)
    if is_classes and scoring in _OF_ONE_CLASS and not _has_positive_class(y):
        scoring = f"{scoring}_macro"
    scorer, nothing = check_scoring(dummy, scoring), np.zeros((len(y), 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scorer(dummy.fit(nothing, y), nothing, y)
    except ValueError as error:
        reason, remedy = str(error).rstrip("."), "Pass a score for such numbers."
        if is_classes:
            remedy = (
                "Pass a score of several classes, such as 'f1_macro' or "
                "'roc_auc_ovr', or 0 and 1 as classes, where 1 is the positive one."
            )
        raise ValueError(
            f"scoring={scoring!r} cannot be computed for this y ({reason}). {remedy}"
        ) from error
    return scoring, scorer


def bounds_of(scoring: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a score, by its name."""
    for bounds, names in _BOUNDS.items():
        if scoring in _KNOWN and scoring.startswith(names):
            return bounds
    return -np.inf, np.inf


def is_at_most_one(scoring: str) -> bool:
    """Tell whether 1 is the best value of a score, by its name."""
    return bounds_of(scoring)[1] == 1


def _has_positive_class(y: np.ndarray) -> bool:
    """Tell whether the classes are 0 and 1, or -1 and 1, whatever their type."""
    is_number = y.dtype.kind in "biuf"
    return is_number and set(np.unique(y).tolist()) in ({0, 1}, {-1, 1})
