"""Scores as an affine function of embeddings: found by asking, checked on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.base import is_regressor

from sktl.exceptions import ActivationMapError
from sktl.inspection._estimators import Step, transformed

_TOLERANCE = 1e-6
_HEADS = (
    "LogisticRegression, LinearSVC, RidgeClassifier, SGDClassifier, "
    "LinearDiscriminantAnalysis, Ridge"
)


@dataclass(frozen=True)
class Affine:
    """The function ``x @ weight + bias``.

    Attributes
    ----------
    weight : ndarray of shape (n_inputs, n_outputs)
        Slopes.
    bias : ndarray of shape (n_outputs,)
        Values at 0.
    """

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the values at the rows of ``x``."""
        return x @ self.weight + self.bias

    def then(self, after: Affine) -> Affine:
        """Return this function followed by another."""
        return Affine(self.weight @ after.weight, after(self.bias[None])[0])


def affine_of(function: Callable, inputs: np.ndarray) -> Affine | None:
    """Return an affine function that equals ``function``, None if it is not affine.

    It is read off at 0 and along each axis, and compared on the inputs and on points
    between and beyond them. No list of kinds of estimators is needed, and none can be
    wrong about one of their settings.
    """
    inputs = np.asarray(inputs, dtype=np.float64)
    scale = np.abs(inputs).mean() or 1.0
    axes = np.vstack([np.zeros(inputs.shape[1]), scale * np.eye(inputs.shape[1])])
    values = _rows(function(axes))
    found = Affine((values[1:] - values[0]) / scale, values[0])
    points = np.vstack([inputs, 0.5 * inputs, (inputs + inputs[::-1]) / 2])
    expected = _rows(function(points))
    error = np.abs(found(points) - expected).max()
    if not error <= _TOLERANCE * max(
        np.abs(expected).max(), np.abs(values).max(), 1e-9
    ):
        return None
    return found


def affine_scores(steps: list[Step], embeddings: np.ndarray) -> Affine:
    """Return the scores of a pipeline as an affine function of its embeddings.

    Parameters
    ----------
    steps : list of Step
        What follows the embedding; the last is the head.
    embeddings : ndarray of shape (n, d)
        Some of them, to check with.
    """
    *transformers, head = steps
    x = np.asarray(embeddings, dtype=np.float64)
    whole = Affine(np.eye(x.shape[1]), np.zeros(x.shape[1]))
    for step in transformers:
        found = affine_of(lambda rows, step=step: transformed(step, rows), x)
        if found is None:
            raise ActivationMapError(
                f"The step {step.name!r} ({_name(step)}) is not an affine function of "
                "the embedding, so that the score is no average over places in the "
                "image. StandardScaler, PCA and other affine steps are fine."
            )
        whole, x = whole.then(found), found(x)
    found = affine_of(_score_function(head), x)
    if found is None:
        raise ActivationMapError(_not_linear(head))
    return whole.then(found)


def _score_function(head: Step) -> Callable:
    """Return the function from embeddings to the scores of a head."""
    estimator = head.estimator
    if is_regressor(estimator):
        return estimator.predict
    if not hasattr(estimator, "decision_function"):
        raise ActivationMapError(
            f"The head {head.name!r} ({_name(head)}) has no decision_function, whose "
            f"scores a map could explain. Heads with exact maps are {_HEADS}."
        )
    return estimator.decision_function


def _not_linear(head: Step) -> str:
    """Say why a head has no map."""
    reason = f"The head {head.name!r} ({_name(head)}) is not linear in the embedding"
    kernel = getattr(head.estimator, "kernel", None)
    if kernel == "linear":
        return (
            f"{reason}: with more than two classes, SVC counts the votes of its pairs. "
            "LinearSVC or LogisticRegression give scores that have exact maps."
        )
    if kernel is not None:
        reason += f" (kernel={kernel!r})"
    return (
        f"{reason}: its score is no sum over places in the image. Heads with exact "
        f"maps are {_HEADS}."
    )


def _name(step: Step) -> str:
    return type(step.estimator).__name__


def _rows(values) -> np.ndarray:
    """Return values as a matrix of floats, one column where they are a vector."""
    values = np.asarray(values, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values
