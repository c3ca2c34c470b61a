"""Scores as linear functions of embeddings, found by probing, then checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.base import is_regressor

from sktl.exceptions import ActivationMapError
from sktl.inspection._fitted_steps import Step

_HEADS = (
    "ProbeClassifier, LogisticRegression, LinearSVC, RidgeClassifier, SGDClassifier, "
    "LinearDiscriminantAnalysis, Ridge"
)


@dataclass(frozen=True)
class LinearScores:
    """The function ``x @ weight + bias`` from embeddings to scores."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the values at the rows of ``x``."""
        return x @ self.weight + self.bias

    @classmethod
    def of(cls, function: Callable, inputs: np.ndarray) -> LinearScores | None:
        """Return ``function`` as scores; None if it is not linear plus a constant.

        The function is evaluated at 0 and along each axis, and compared on the inputs
        and on points between and beyond them, so it needs no list of estimators.
        """
        inputs = np.asarray(inputs, dtype=np.float64)
        n, scale = inputs.shape[1], np.abs(inputs).mean() or 1.0
        values = _matrix(function(np.vstack([np.zeros(n), scale * np.eye(n)])))
        found = cls((values[1:] - values[0]) / scale, values[0])
        points = np.vstack([inputs, 0.5 * inputs, (inputs + inputs[::-1]) / 2])
        expected = _matrix(function(points))
        largest = max(np.abs(expected).max(), np.abs(values).max(), 1e-9)
        error = np.abs(found(points) - expected).max()
        return found if error <= 1e-6 * largest else None

    @classmethod
    def of_steps(cls, steps: list[Step], embeddings: np.ndarray) -> LinearScores:
        """Return the scores of the steps after the embedding; the last is the head."""
        *transformers, head = steps
        x = np.asarray(embeddings, dtype=np.float64)
        weight, bias = np.eye(x.shape[1]), np.zeros(x.shape[1])
        for step in [*transformers, head]:
            is_head = step is head
            found = cls.of(_scores(head) if is_head else step.transform, x)
            if found is None:
                raise ActivationMapError(
                    _not_linear(head)
                    if is_head
                    else f"The step {step} is not an affine function of the embedding, "
                    "so the score is not an average over image positions. "
                    "StandardScaler, PCA and other affine steps are fine."
                )
            weight, bias, x = weight @ found.weight, found(bias), found(x)
        return cls(weight, bias)

    def per_class(self, n_classes: int) -> LinearScores:
        """Return a score for each class; of two classes, one is minus the other."""
        weight, bias = self.weight, self.bias
        if n_classes != 2:
            return self
        if weight.shape[1] == 2:  # two logits, whose difference counts
            weight, bias = np.diff(weight, axis=1), np.diff(bias)
        return LinearScores(np.hstack([-weight, weight]), np.hstack([-bias, bias]))


def _scores(head: Step) -> Callable:
    """Return the function from embeddings to the scores of a head."""
    if is_regressor(head.estimator):
        return head.estimator.predict
    if not hasattr(head.estimator, "decision_function"):
        raise ActivationMapError(
            f"The head {head} has no decision_function that a map could "
            f"explain. Heads with exact maps are {_HEADS}."
        )
    return head.estimator.decision_function


def _not_linear(head: Step) -> str:
    """Say why a head has no map."""
    reason = f"The head {head} is not linear in the embedding"
    kernel = getattr(head.estimator, "kernel", None)
    if kernel == "linear":
        return (
            f"{reason}: with more than two classes, SVC counts votes of class pairs. "
            "ProbeClassifier and LinearSVC give scores that have exact maps."
        )
    if kernel is not None:
        reason += f" (kernel={kernel!r})"
    return (
        f"{reason}: its score is not a sum over image positions. Heads with exact "
        f"maps are {_HEADS}."
    )


def _matrix(values) -> np.ndarray:
    """Return values as a matrix of floats, one column for a vector."""
    values = np.asarray(values, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values
