"""``MistakesDisplay``: what a classifier got wrong while it was most confident."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from sktl.images import ImageRows
from sktl.inspection._classes import CORRECT, WRONG
from sktl.inspection._panel import BODY, MUTED, Panel, cell_size
from sktl.inspection._predictions import Predictions, PredictionsDisplay
from sktl.inspection._thumbnails import Thumbnails

_SIDE = 1.35  # of a picture, in inches


@dataclass(eq=False, repr=False)
class MistakesDisplay(PredictionsDisplay):
    """The most confident mistakes of a classifier, as pictures.

    They show where labels are wrong, images are odd, or the classifier looks at the
    wrong thing.

    Parameters
    ----------
    rows : ndarray of int
        The rows of X predicted wrongly, the most confident first.

    true_names, predicted_names : list of str
        Names of their classes, and of those predicted.

    confidence : ndarray of float or None
        How confident the classifier was in each.

    confidence_kind : {"probability", "margin", None}
        What the confidence is: a probability, or how far the score of the predicted
        class lies above the next.

    images : ImageRows
        All images.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where the pictures are drawn.

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

    rows: np.ndarray
    _: KW_ONLY
    true_names: list[str]
    predicted_names: list[str]
    confidence: np.ndarray | None
    confidence_kind: str | None
    images: ImageRows

    @classmethod
    def compute(cls, predictions: Predictions) -> MistakesDisplay:
        """Return the display without drawing it."""
        rows, confidence = predictions.wrong, predictions.confidence
        return cls(
            rows,
            true_names=[predictions.names[i] for i in predictions.true[rows]],
            predicted_names=[predictions.names[i] for i in predictions.predicted[rows]],
            confidence=None if confidence is None else confidence[rows],
            confidence_kind=predictions.kind,
            images=predictions.images,
        )

    def plot(self, ax=None, *, n_images=15) -> MistakesDisplay:
        """Draw the pictures with their true and predicted classes and the confidence.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        n_images : int, default=15
            Pictures to show at most; fewer if there is no room.

        Returns
        -------
        display : MistakesDisplay
            The display itself.
        """
        n = min(n_images, len(self.rows))
        n_across = min(5, max(n, 3))
        cell = cell_size(_SIDE, n_pictures=1, n_lines=3)
        size = n_across * cell[0] + 0.3, max(-(-n // n_across), 0.4) * cell[1] + 0.5
        panel = Panel("MistakesDisplay.plot", ax, *size)
        self.ax_, self.figure_ = panel.ax, panel.figure
        thumbnails = Thumbnails(self.images, side=192)
        items = (([thumbnails[self.rows[k]]], self._caption(k)) for k in range(n))
        self.text_ = panel.gallery(items, n, cell, _SIDE, top=panel.top)
        self.shown_ = np.asarray(self.rows[: len(self.text_)], dtype=int)
        self.title_ = panel.title(self._heading(len(self.shown_)))
        if not len(self.rows):
            words = f"All {len(self.images)} predictions are right."
            panel.text(0.15, panel.height - 0.7, words, BODY)
        return self

    def _heading(self, n: int) -> str:
        """Return a title with counts."""
        total, n_images = len(self.rows), len(self.images)
        if not total:
            return f"No mistakes in {n_images} images"
        kind = "mistake" if self.confidence is None else "most confident mistake"
        return f"{n} {kind}{'s' * (n != 1)} of {total} in {n_images} images"

    def _caption(self, k: int) -> list[tuple[str, str]]:
        """Return the lines under a picture and their colours."""
        last = f"row {self.rows[k]}"
        if self.confidence is not None:
            # No classifier is 100% certain.
            percent = min(100 * self.confidence[k], 99.9)
            words = f"{percent:.{1 if percent >= 99 else 0}f}%"
            if self.confidence_kind == "margin":
                words = f"margin {self.confidence[k]:.3g}"
            last = f"{words} · {last}"
        return [
            (f"true: {self.true_names[k]}", CORRECT),
            (f"predicted: {self.predicted_names[k]}", WRONG),
            (last, MUTED),
        ]
