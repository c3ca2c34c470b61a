"""``MistakesDisplay``: what a classifier got wrong while it was most sure."""

from __future__ import annotations

import numpy as np

from sktl.images import ImageRows
from sktl.inspection._classes import CORRECT, WRONG, names_of
from sktl.inspection._estimators import rows_for
from sktl.inspection._panel import BODY, LINE, MUTED, SMALL, Panel
from sktl.inspection._predictions import Predictions, predictions, predictions_of
from sktl.inspection._text import fitted
from sktl.inspection._thumbnails import Thumbnails

_PICTURE, _GAP = 1.3, 0.16  # inches
_CAPTION = 3 * SMALL * LINE + 0.14


class MistakesDisplay:
    """The most confident mistakes of a classifier, as pictures.

    They are where labels are wrong, images are odd, or the classifier looks at the
    wrong thing. Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    rows : ndarray of int
        The rows of X predicted wrongly, the most confident first.

    true_names, predicted_names : list of str
        Names of their classes, and of those predicted.

    confidence : ndarray of float or None
        How sure the classifier was of each.

    confidence_kind : {"probability", "margin", None}
        What the confidence is: a probability, or the distance of the score of the
        predicted class to the next.

    images : ImageRows
        All images.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that hold the pictures.

    figure_ : matplotlib Figure
        The figure.

    text_ : list of list of matplotlib Text
        The lines under each picture.

    shown_ : ndarray of int
        The rows of X that are shown, in reading order.

    See Also
    --------
    ImageConfusionDisplay : Mistakes by pairs of classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.inspection import MistakesDisplay
    >>> X = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    >>> display = MistakesDisplay.from_predictions(
    ...     X,
    ...     ["cat", "cat", "dog", "dog"],
    ...     ["cat", "dog", "cat", "dog"],
    ...     y_proba=[0.9, 0.6, 0.8, 0.7],
    ... )
    >>> display.shown_
    array([2, 1])
    """

    def __init__(
        self,
        rows,
        *,
        true_names,
        predicted_names,
        confidence,
        confidence_kind,
        images,
    ):
        self.rows = rows
        self.true_names = true_names
        self.predicted_names = predicted_names
        self.confidence = confidence
        self.confidence_kind = confidence_kind
        self.images = images

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, display_labels=None, ax=None, **plot_params
    ):
        """Predict X and show the mistakes.

        Parameters
        ----------
        estimator : fitted classifier
            A pipeline, a fine-tuned estimator, or a search over them. Mistakes are
            ordered by ``predict_proba``, or else by ``decision_function``; without
            either they come in the order of X.

        X : array-like of images
            Images it was not fitted to.

        y : array-like of shape (n_samples,)
            Their classes.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of ``estimator.classes_`` or by label.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        **plot_params : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : MistakesDisplay
            The display, drawn.
        """
        made = predictions_of(estimator, X, y)
        display = cls._of(made, rows_for(estimator, X), display_labels)
        return display.plot(ax=ax, **plot_params)

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
        ax=None,
        **plot_params,
    ):
        """Show the mistakes of predictions made elsewhere.

        Parameters
        ----------
        X : array-like of images
            The images.

        y_true, y_pred : array-like of shape (n_samples,)
            Their classes, and those predicted.

        y_proba : array-like of shape (n_samples,) or (n_samples, n_classes), \
                default=None
            Probability of the predicted class, or of all classes in the order of the
            sorted labels.

        labels : array-like, default=None
            All classes; None takes those that occur.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of the sorted labels or by label.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        **plot_params : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : MistakesDisplay
            The display, drawn.
        """
        made = predictions(y_true, y_pred, y_proba, labels)
        display = cls._of(made, ImageRows.of(X), display_labels)
        return display.plot(ax=ax, **plot_params)

    @classmethod
    def _of(cls, made: Predictions, images: ImageRows, display_labels):
        """Find the mistakes and put them in order."""
        made.check_length(images)
        names = names_of(made.labels, display_labels)
        rows = made.wrong
        return cls(
            rows,
            true_names=[names[i] for i in made.true[rows]],
            predicted_names=[names[i] for i in made.predicted[rows]],
            confidence=None if made.confidence is None else made.confidence[rows],
            confidence_kind=made.kind,
            images=images,
        )

    def plot(self, ax=None, *, n_images=15):
        """Draw the pictures, the true class, the predicted one and how sure it was.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        n_images : int, default=15
            Pictures to show, as far as there is room.

        Returns
        -------
        display : MistakesDisplay
            The display itself.
        """
        n = min(n_images, len(self.rows))
        n_across = min(5, max(n, 3))
        width, height = _PICTURE + _GAP, _PICTURE + _CAPTION
        n_down = -(-n // n_across)
        size = n_across * width + 0.3, max(n_down, 0.4) * height + 0.5
        panel = Panel("MistakesDisplay.plot", ax, *size)
        places = panel.cells(n, width, height, panel.height - 0.42)
        self.title_, _ = panel.title(self._heading(len(places)))
        if not len(self.rows):
            words = f"All {len(self.images)} images were predicted rightly."
            panel.text(0.15, panel.height - 0.7, words, BODY)
        self.ax_, self.figure_ = panel.ax, panel.figure
        thumbnails = Thumbnails(self.images, side=192)
        self.shown_ = np.asarray(self.rows[: len(places)], dtype=int)
        self.text_ = []
        for k, (left, bottom) in enumerate(places):
            row = int(self.shown_[k])
            left += _GAP / 2
            panel.picture(thumbnails[row], left, bottom + _CAPTION, _PICTURE)
            lines = (
                (f"true: {self.true_names[k]}", CORRECT),
                (f"said: {self.predicted_names[k]}", WRONG),
                (self._surely(k) + f"row {row}", MUTED),
            )
            top = bottom + _CAPTION - 0.05
            self.text_.append([])
            for words, colour in lines:
                words = fitted(words, _PICTURE + _GAP / 2, SMALL)
                how = {"color": colour, "va": "top"}
                self.text_[-1].append(panel.text(left, top, words, SMALL, **how))
                top -= SMALL * LINE
        return self

    def _heading(self, n: int) -> str:
        """Return a title that counts."""
        total, all_images = len(self.rows), len(self.images)
        if not total:
            return f"No mistakes in {all_images} images"
        kind = "mistake" if self.confidence is None else "most confident mistake"
        return f"{n} {kind}{'s' * (n != 1)} of {total} in {all_images} images"

    def _surely(self, k: int) -> str:
        """Say how sure the classifier was."""
        if self.confidence is None:
            return ""
        if self.confidence_kind == "probability":
            # 100 % would be a claim that no classifier makes.
            percent = min(100 * self.confidence[k], 99.9)
            return f"{percent:.{1 if percent >= 99 else 0}f} % · "
        return f"margin {self.confidence[k]:.3g} · "
