"""``Predictions``: what was true, what was said, and how surely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import unique_labels

from sktl.inspection._classes import codes_of


@dataclass(frozen=True)
class Predictions:
    """Predictions of a classifier for rows whose classes are known.

    Attributes
    ----------
    labels : ndarray
        The distinct labels, sorted.
    true, predicted : ndarray of int
        Positions in ``labels``, for each row.
    confidence : ndarray of float or None
        How sure the classifier was of what it predicted.
    kind : {"probability", "margin", None}
        What the confidence is: a probability, or how far the score of the predicted
        class lies above that of the next.
    """

    labels: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray | None
    kind: str | None

    @property
    def wrong(self) -> np.ndarray:
        """Rows predicted wrongly, the most confident first."""
        return self.by_confidence(np.flatnonzero(self.true != self.predicted))

    def by_confidence(self, rows: np.ndarray) -> np.ndarray:
        """Return rows with the most confident first; in their order if unknown."""
        if self.confidence is None:
            return rows
        return rows[np.argsort(-self.confidence[rows], kind="stable")]

    def check_length(self, images) -> None:
        """Refuse X and y of different lengths."""
        if len(images) != len(self.true):
            raise ValueError(
                f"X has {len(images)} images and y_true {len(self.true)} classes."
            )


def predictions_of(estimator, X, y) -> Predictions:
    """Ask a fitted classifier."""
    if not hasattr(estimator, "classes_"):
        raise ValueError(
            f"{type(estimator).__name__} is no fitted classifier: it has no classes_."
        )
    classes = np.asarray(estimator.classes_)
    predicted = estimator.predict(X)
    if hasattr(estimator, "predict_proba"):
        scores, kind = estimator.predict_proba(X), "probability"
    elif hasattr(estimator, "decision_function"):
        scores, kind = estimator.decision_function(X), "margin"
    else:
        return predictions(y, predicted, labels=classes)
    said = codes_of(predicted, classes, "What predict returned")
    scores = np.asarray(scores, dtype=np.float64)
    if kind == "probability":
        confidence = scores[np.arange(len(said)), said]
    elif scores.ndim == 1:
        confidence = np.abs(scores)
    else:
        own = scores[np.arange(len(said)), said]
        others = scores.copy()
        others[np.arange(len(said)), said] = -np.inf
        confidence = own - others.max(axis=1)
    return predictions(y, predicted, confidence, labels=classes, kind=kind)


def predictions(
    y_true, y_pred, y_proba=None, labels=None, kind: str = "probability"
) -> Predictions:
    """Bring predictions made elsewhere into one form.

    ``y_proba`` holds the probability of the predicted class of each row, or of all
    classes, in the order of the sorted labels.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    check_consistent_length(y_true, y_pred, y_proba)
    seen = unique_labels(y_true, y_pred)
    labels = seen if labels is None else np.union1d(np.asarray(labels), seen)
    true = codes_of(y_true, labels, "y_true")
    predicted = codes_of(y_pred, labels, "y_pred")
    if y_proba is None:
        return Predictions(labels, true, predicted, None, None)
    confidence = np.asarray(y_proba, dtype=np.float64)
    if confidence.ndim == 2:
        if confidence.shape[1] != len(labels):
            raise ValueError(
                f"y_proba has {confidence.shape[1]} columns for {len(labels)} classes "
                f"({', '.join(map(str, labels[:5]))}, ...). Pass labels with all "
                "classes of the classifier, or the probability of the predicted "
                "class alone."
            )
        confidence = confidence[np.arange(len(predicted)), predicted]
    return Predictions(labels, true, predicted, confidence, kind)
