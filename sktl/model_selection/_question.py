"""What is asked of images: classes or numbers, and by which splits it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _num_samples, column_or_1d

Split = tuple[np.ndarray, np.ndarray]


def read_targets(X, y, task: str) -> tuple[np.ndarray, str]:
    """Return one target for each image, and the task; refuse what cannot be asked."""
    if y is None:
        raise ValueError("y is None. Pass one label, or one number, for each image.")
    n, n_targets = _num_samples(X), _num_samples(y)
    if n != n_targets:
        raise ValueError(
            f"X has {n} images and y has {n_targets} targets. Give one target for each "
            "image, in the same order."
        )
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"y has {y.shape[1]} columns. Only one label or number for each image is "
            "understood here; take one column at a time."
        )
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    if y.dtype == object and any(label is None or label != label for label in y):
        raise ValueError("y has missing labels. Leave those images out.")
    if task == "auto":
        kind = type_of_target(y, input_name="y")
        task = "regression" if kind.startswith("continuous") else "classification"
    if task == "regression":
        return y.astype(np.float64), task
    if type_of_target(y, input_name="y").startswith("continuous"):
        raise ValueError(
            "y holds numbers that are not whole, so it is not a set of classes. Pass "
            "task='regression', or make classes of the numbers."
        )
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"y has one class only ({classes[0]!r}), so there is nothing to learn. "
            "Add images of another class."
        )
    return y, task


def make_splits(
    y: np.ndarray,
    groups: np.ndarray | None,
    task: str,
    cv,
    n_repeats: int,
    seed: int,
) -> list[Split]:
    """Return the training and test rows of every fold of every repetition."""
    if not isinstance(cv, Integral):
        splitter = check_cv(cv, y, classifier=task == "classification")
        return list(splitter.split(np.zeros(len(y)), y, groups))
    check_folds(y, groups, task, cv)
    splits: list[Split] = []
    for repeat in range(n_repeats):
        splitter = _splitter(cv, groups is not None, task, seed + repeat)
        splits += splitter.split(np.zeros(len(y)), y, groups)
    return splits


def check_folds(y: np.ndarray, groups, task: str, cv: int, name: str = "cv") -> None:
    """Refuse more folds than the images, classes or groups can fill."""
    if cv < 2:
        raise ValueError(f"{name}={cv} has to be at least 2.")
    if cv > len(y):
        raise ValueError(
            f"{name}={cv} folds are more than there are images ({len(y)}). Pass "
            f"{name}={len(y)} or less, or add images."
        )
    if groups is not None and cv > len(np.unique(groups)):
        n_groups = len(np.unique(groups))
        raise ValueError(
            f"{name}={cv} folds are more than there are groups ({n_groups}). Pass "
            f"{name}={n_groups} or less."
        )
    if task == "classification":
        classes, counts = np.unique(y, return_counts=True)
        if cv > counts.min():
            rare, most = classes[counts.argmin()], int(counts.min())
            advice = f"pass {name}={most}, " if most > 1 else ""
            if y.dtype.kind in "iuf":
                advice += "pass task='regression' if y holds numbers, "
            raise ValueError(
                f"Class {rare!s} has {most} image{'s' * (most > 1)}, fewer than "
                f"{name}={cv} folds. Add images of it, {advice}or leave the class out."
            )
        if groups is not None:
            _check_groups_of_classes(y, groups, classes)


def _check_groups_of_classes(y: np.ndarray, groups: np.ndarray, classes) -> None:
    """Refuse a class that is on one side of every split as a whole."""
    for label in classes:
        found = np.unique(groups[y == label])
        if len(found) < 2:
            raise ValueError(
                f"All images of class {label!s} are of one group ({found[0]!s}), so "
                "it is either not trained on or not tested. Add images of it from "
                "another group, or leave the class out."
            )


def inner_splits(
    y: np.ndarray, groups: np.ndarray | None, task: str, cv: int, seed: int
) -> list[Split]:
    """Return splits of a training part, on which hyper-parameters are chosen.

    Folds are as many as the rarest class and the groups allow, ``cv`` at most.
    """
    if task == "classification":
        cv = min(cv, np.unique(y, return_counts=True)[1].min())
    if groups is not None:
        cv = min(cv, len(np.unique(groups)))
    cv = min(cv, len(y))
    if cv < 2:
        return []
    splitter = _splitter(int(cv), groups is not None, task, seed)
    return list(splitter.split(np.zeros(len(y)), y, groups))


def groups_of(groups, n: int) -> np.ndarray | None:
    """Return one group for each image."""
    if groups is None:
        return None
    groups = column_or_1d(groups)
    if len(groups) != n:
        raise ValueError(
            f"X has {n} images and groups has {len(groups)} entries. Give one group "
            "for each image."
        )
    return groups


def name_of_score(scoring, task: str) -> str:
    """Return what to call a score in a table."""
    if scoring is None:
        return "accuracy" if task == "classification" else "R²"
    if isinstance(scoring, str):
        return scoring
    return getattr(scoring, "__name__", None) or str(scoring)


def mean_sizes(splits: Sequence[Split]) -> tuple[float, float]:
    """Return how many rows are trained on and tested on, on average."""
    return (
        float(np.mean([len(train) for train, _ in splits])),
        float(np.mean([len(test) for _, test in splits])),
    )


def _splitter(cv: int, grouped: bool, task: str, seed: int):
    """Return a shuffled splitter that keeps groups together and classes apart."""
    if task == "classification":
        kind = StratifiedGroupKFold if grouped else StratifiedKFold
    else:
        kind = GroupKFold if grouped else KFold
    return kind(cv, shuffle=True, random_state=seed)
