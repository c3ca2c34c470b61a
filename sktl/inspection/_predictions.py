"""``Predictions``: true classes, predicted classes and confidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import unique_labels

from sktl.images import ImageRows
from sktl.inspection._classes import codes_of, names_of
from sktl.inspection._fitted_steps import images_for


@dataclass(frozen=True)
class Predictions:
    """Predictions of a classifier for images whose classes are known."""

    images: ImageRows
    names: list[str]  # of the classes
    true: np.ndarray  # positions in names, for each image
    predicted: np.ndarray
    confidence: np.ndarray | None
    kind: str | None  # "probability", or "margin": the score above the next class's

    @classmethod
    def of(
        cls,
        X,
        y_true,
        y_pred,
        y_proba=None,
        *,
        labels=None,
        display_labels=None,
        kind: str = "probability",
    ) -> Predictions:
        """Check predictions and bring them into one form.

        ``y_proba`` holds the confidence in the predicted class of each image, or the
        probabilities of all classes, in the order of the sorted labels.
        """
        images = ImageRows.of(X)
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        check_consistent_length(y_true, y_pred, y_proba)
        if len(images) != len(y_true):
            raise ValueError(
                f"X has {len(images)} images and y_true {len(y_true)} classes."
            )
        seen = unique_labels(y_true, y_pred)
        labels = seen if labels is None else np.union1d(np.asarray(labels), seen)
        true = codes_of(y_true, labels, "y_true")
        predicted = codes_of(y_pred, labels, "y_pred")
        names = names_of(labels, display_labels)
        if y_proba is None:
            return cls(images, names, true, predicted, None, None)
        confidence = np.asarray(y_proba, dtype=np.float64)
        if confidence.ndim == 2:
            if confidence.shape[1] != len(labels):
                raise ValueError(
                    f"y_proba has {confidence.shape[1]} columns for {len(labels)} "
                    f"classes ({', '.join(map(str, labels[:5]))}, ...). Pass labels "
                    "with all classes of the classifier, or only the probability of "
                    "the predicted class."
                )
            confidence = confidence[np.arange(len(predicted)), predicted]
        return cls(images, names, true, predicted, confidence, kind)

    @classmethod
    def by(cls, estimator, X, y, display_labels=None) -> Predictions:
        """Predict with a fitted classifier."""
        if not hasattr(estimator, "classes_"):
            raise ValueError(
                f"{type(estimator).__name__} is not a fitted classifier: it has no "
                "classes_."
            )
        classes, predicted = np.asarray(estimator.classes_), estimator.predict(X)
        codes = codes_of(predicted, classes, "The output of predict")
        confidence, kind = None, "probability"
        if hasattr(estimator, "predict_proba"):
            confidence = estimator.predict_proba(X)[np.arange(len(codes)), codes]
        elif hasattr(estimator, "decision_function"):
            confidence, kind = _margin(estimator.decision_function(X), codes), "margin"
        return cls.of(
            images_for(estimator, X),
            y,
            predicted,
            confidence,
            labels=classes,
            display_labels=display_labels,
            kind=kind,
        )

    @property
    def wrong(self) -> np.ndarray:
        """Rows predicted wrongly, the most confident first if that is known."""
        rows = np.flatnonzero(self.true != self.predicted)
        if self.confidence is None:
            return rows
        return rows[np.argsort(-self.confidence[rows], kind="stable")]


def _margin(scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return how far the score of the predicted class lies above the next."""
    if scores.ndim == 1:
        return np.abs(scores)
    rows = np.arange(len(codes))
    others = np.array(scores, dtype=np.float64)
    others[rows, codes] = -np.inf
    return scores[rows, codes] - others.max(axis=1)


class PredictionsDisplay(ABC):
    """Base of the displays of predictions, which add ``compute`` and ``plot``."""

    @classmethod
    @abstractmethod
    def compute(cls, predictions: Predictions):
        """Return the display without drawing it."""

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, display_labels=None, **plot_params
    ) -> PredictionsDisplay:
        """Predict the classes of X and draw the display.

        Parameters
        ----------
        estimator : fitted classifier
            A pipeline, a fine-tuned estimator, or a search over them. Its confidence
            comes from ``predict_proba``, or else from ``decision_function``. Without
            either, mistakes are in the order of X.

        X : array-like of images
            Images it was not fitted to.

        y : array-like of shape (n_samples,)
            Their classes.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of ``estimator.classes_`` or by label.

        **plot_params : dict
            Passed to :meth:`plot`, such as ``ax``.

        Returns
        -------
        display : object of this class
            The display, drawn.
        """
        predictions = Predictions.by(estimator, X, y, display_labels)
        return cls.compute(predictions).plot(**plot_params)

    @classmethod
    def from_predictions(
        cls,
        X,
        y_true,
        y_pred,
        *,
        y_proba=None,
        labels=None,
        display_labels=None,
        **plot_params,
    ) -> PredictionsDisplay:
        """Draw the display of predictions made elsewhere.

        Parameters
        ----------
        X : array-like of images
            The images.

        y_true, y_pred : array-like of shape (n_samples,)
            Their classes, and the predicted ones, as from
            :func:`~sklearn.model_selection.cross_val_predict`.

        y_proba : array-like of shape (n_samples,) or (n_samples, n_classes), \
                default=None
            Probability of the predicted class, or of all classes in the order of the
            sorted labels. The most confident mistakes are shown first.

        labels : array-like, default=None
            All classes; None takes those that occur.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of the sorted labels or by label.

        **plot_params : dict
            Passed to :meth:`plot`, such as ``ax``.

        Returns
        -------
        display : object of this class
            The display, drawn.
        """
        predictions = Predictions.of(
            X, y_true, y_pred, y_proba, labels=labels, display_labels=display_labels
        )
        return cls.compute(predictions).plot(**plot_params)
