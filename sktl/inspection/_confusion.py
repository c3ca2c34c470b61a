"""``ImageConfusionDisplay``: which classes are confused, and what that looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sktl.images import ImageRows
from sktl.inspection._classes import CORRECT, WRONG, names_of
from sktl.inspection._estimators import rows_for
from sktl.inspection._panel import BODY, INK, LINE, MUTED, RULE, SMALL, Panel
from sktl.inspection._predictions import Predictions, predictions, predictions_of
from sktl.inspection._text import fitted, widest
from sktl.inspection._thumbnails import Thumbnails

_PICTURE, _GAP = 0.72, 0.06  # inches


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were taken for another.

    Attributes
    ----------
    true, predicted : int
        Positions of the classes in the confusion matrix.
    rows : tuple of int
        All images of the pair, as rows of X, the most confident first.
    """

    true: int
    predicted: int
    rows: tuple[int, ...]


class ImageConfusionDisplay:
    """Confusion matrix beside pictures of the most confused pairs of classes.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    confusion_matrix : ndarray of shape (n_classes, n_classes)
        Counts; rows are true classes, columns predicted ones.

    display_labels : list of str
        Names of the classes.

    pairs : list of ConfusedPair
        The confused pairs, the most frequent first.

    images : ImageRows
        The images that the rows of the pairs stand for.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The matrix.

    bounding_ax_ : matplotlib Axes
        The axes that hold the matrix and the pictures.

    figure_ : matplotlib Figure
        The figure.

    text_ : dict of (int, int) to matplotlib Text
        The counts written in the matrix, by the positions of their classes; the
        number of classes stands for the classes not shown by themselves.

    shown_ : dict of (int, int) to tuple of int
        The rows of X shown as pictures, by true and predicted class.

    classes_shown_ : ndarray of int
        The classes that have a row and a column of their own.

    See Also
    --------
    MistakesDisplay : The most confident mistakes, whatever their classes.
    sklearn.metrics.ConfusionMatrixDisplay : The matrix alone.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.inspection import ImageConfusionDisplay
    >>> X = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    >>> display = ImageConfusionDisplay.from_predictions(
    ...     X, ["cat", "cat", "dog", "dog", "dog"], ["cat", "dog", "dog", "dog", "cat"]
    ... )
    >>> display.confusion_matrix
    array([[1, 1],
           [1, 2]])
    >>> display.shown_
    {(0, 1): (1,), (1, 0): (4,)}
    """

    def __init__(self, confusion_matrix, *, display_labels, pairs, images):
        self.confusion_matrix = confusion_matrix
        self.display_labels = display_labels
        self.pairs = pairs
        self.images = images

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, display_labels=None, ax=None, **plot_params
    ):
        """Predict X and show what was confused.

        Parameters
        ----------
        estimator : fitted classifier
            A pipeline, a fine-tuned estimator, or a search over them.

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
        display : ImageConfusionDisplay
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
        """Show what was confused in predictions made elsewhere.

        Parameters
        ----------
        X : array-like of images
            The images.

        y_true, y_pred : array-like of shape (n_samples,)
            Their classes, and those predicted, as by
            :func:`~sklearn.model_selection.cross_val_predict`.

        y_proba : array-like of shape (n_samples,) or (n_samples, n_classes), \
                default=None
            Probability of the predicted class, or of all classes. Of each pair of
            classes, the most confident mistakes are shown.

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
        display : ImageConfusionDisplay
            The display, drawn.
        """
        made = predictions(y_true, y_pred, y_proba, labels)
        display = cls._of(made, ImageRows.of(X), display_labels)
        return display.plot(ax=ax, **plot_params)

    @classmethod
    def _of(cls, made: Predictions, images: ImageRows, display_labels):
        """Count, and gather the rows of each confused pair."""
        made.check_length(images)
        n = len(made.labels)
        matrix = np.zeros((n, n), dtype=np.int64)
        np.add.at(matrix, (made.true, made.predicted), 1)
        rows_of: dict[tuple[int, int], list[int]] = {}
        for row in made.wrong.tolist():
            pair = int(made.true[row]), int(made.predicted[row])
            rows_of.setdefault(pair, []).append(row)
        pairs = [ConfusedPair(*pair, tuple(rows)) for pair, rows in rows_of.items()]
        pairs.sort(key=lambda pair: (-len(pair.rows), pair.true, pair.predicted))
        names = names_of(made.labels, display_labels)
        return cls(matrix, display_labels=names, pairs=pairs, images=images)

    def plot(self, ax=None, *, n_pairs=6, n_examples=5, max_classes=20):
        """Draw the matrix and the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; the matrix and the pictures share its place. None makes a
            figure.

        n_pairs : int, default=6
            Pairs of classes to show pictures of, as far as there is room.

        n_examples : int, default=5
            Pictures of each pair, as far as there is room.

        max_classes : int, default=20
            Classes that get a row of their own: those of the most frequent
            confusions. The others are counted together.

        Returns
        -------
        display : ImageConfusionDisplay
            The display itself.
        """
        shown, counts, names = self._shown(max_classes)
        n_pairs = min(n_pairs, len(self.pairs))
        size = float(np.clip(0.36 * len(names), 2.6, 6.6))
        label = min(widest(names, SMALL), 1.5) + 0.12
        strip = n_examples * (_PICTURE + _GAP) + 0.4 if n_pairs and n_examples else 0.0
        pair = _PICTURE + BODY * LINE + 0.12
        below = label if widest(names, SMALL) > size / len(names) - 0.06 else 0.2
        height = max(size + below + 1.0, (n_pairs * pair if strip else 0) + 0.55)
        wide = 0.45 + label + size + 0.3 + strip
        panel = Panel("ImageConfusionDisplay.plot", ax, max(wide, 4.6), height)
        n, wrong = self.confusion_matrix.sum(), sum(len(p.rows) for p in self.pairs)
        title = f"{wrong} of {n} images predicted wrongly"
        if n:
            title += f" ({100 * wrong / n:.1f} %)"
        self.title_, top = panel.title(title)
        label = min(label, 0.3 * min(panel.width, panel.height))
        below = min(below, label) if ax is None else label
        size = min(size, top - below - 0.55, panel.width - label - 0.75)
        left = 0.45 + label
        self.ax_ = panel.axes(left, top - size, size, size)
        self.bounding_ax_, self.figure_ = panel.ax, panel.figure
        self.classes_shown_ = shown
        self._draw_matrix(counts, names, size)
        self._draw_names(panel, names, left, top, size, label)
        room = panel.width - left - size - 0.4
        self._draw_pairs(panel, left + size + 0.3, top, room, n_pairs, n_examples)
        return self

    def _shown(self, max_classes: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return the classes to show, their counts and names; the rest as one."""
        matrix, n = self.confusion_matrix, len(self.confusion_matrix)
        if n <= max_classes:
            return np.arange(n), matrix, list(self.display_labels)
        # Both classes of the most frequent confusions, as far as there is room.
        both = [i for pair in self.pairs for i in (pair.true, pair.predicted)]
        ranked = list(dict.fromkeys([*both, *range(n)]))
        shown = np.sort(ranked[: max(1, max_classes)])
        group = np.full(n, len(shown))
        group[shown] = np.arange(len(shown))
        counts = np.zeros((len(shown) + 1,) * 2, dtype=matrix.dtype)
        np.add.at(counts, (group[:, None], group[None, :]), matrix)
        names = [self.display_labels[i] for i in shown]
        return shown, counts, [*names, f"{n - len(shown)} other classes"]

    def _draw_matrix(self, counts: np.ndarray, names: list[str], size: float) -> None:
        """Draw cells: hits in blue and mistakes in red, and their counts."""
        from matplotlib.colors import to_rgb

        n, n_shown = len(names), len(self.classes_shown_)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        hit = np.eye(n, dtype=bool)
        # Mistakes are rare where all is well: their shades have a scale of their own.
        mistakes = share[:n_shown, :n_shown][~hit[:n_shown, :n_shown]]
        strongest = max(mistakes.max(initial=0.0), 1e-9)
        strength = np.where(hit, share, 0.12 + 0.88 * share / strongest) * 0.9
        strength = strength.clip(0, 0.9)
        strength[counts == 0] = 0.0
        colour = np.where(hit[..., None], to_rgb(CORRECT), to_rgb(WRONG))
        cells = 1 - strength[..., None] * (1 - colour)
        cells[n_shown:] = cells[:, n_shown:] = 0.93  # many classes under one name
        self.ax_.imshow(cells, aspect="auto", interpolation="nearest")
        self.ax_.set(xticks=[], yticks=[])
        for spine in self.ax_.spines.values():
            spine.set_color(RULE)
        for i in range(1, n):
            self.ax_.axhline(i - 0.5, color="#e4e4e4", lw=0.5)
            self.ax_.axvline(i - 0.5, color="#e4e4e4", lw=0.5)
        position = [*self.classes_shown_.tolist(), len(self.display_labels)]
        digits = max((len(str(count)) for count in counts.flat), default=1)
        points = min(BODY + 1, 72 * size / n / (0.68 * digits + 0.4))
        self.text_ = {}
        for i, j in zip(*np.nonzero(counts), strict=True):
            if points < 4.5:
                break
            light = cells[i, j] @ (0.299, 0.587, 0.114) > 0.55
            text = self.ax_.text(
                j,
                i,
                str(counts[i, j]),
                ha="center",
                va="center",
                fontsize=points,
                color=INK if light else "white",
            )
            self.text_[position[i], position[j]] = text

    def _draw_names(self, panel, names, left, top, size, label) -> None:
        """Write the names of the rows and columns, and what the colours mean."""
        step = size / len(names)
        points = min(SMALL, 72 * step / 1.15)
        upright = widest(names, points) > step - 0.06
        names = [fitted(name, label - 0.1, points) for name in names]
        used = widest(names, points)
        bottom = top - size - 0.06
        for i, name in enumerate(names):
            y = top - (i + 0.5) * step
            panel.text(left - 0.06, y, name, points, ha="right", va="center_baseline")
            how = {"ha": "center", "va": "top", "rotation": 90 if upright else 0}
            panel.text(left + (i + 0.5) * step, bottom, name, points, **how)
        side = {"ha": "right", "va": "center", "rotation": 90}
        panel.text(left - used - 0.14, top - size / 2, "true", BODY, **side)
        below = bottom - (used if upright else points * LINE) - 0.08
        middle = left + size / 2
        panel.text(middle, below, "predicted", BODY, ha="center", va="top")
        below -= BODY * LINE + 0.03
        edge = left + size
        for words in (
            "shade: share of the true class; mistakes on a scale of their own",
            "shade: share of the true class",
        ):
            if widest([words], SMALL) < edge - 0.1:
                how = {"color": MUTED, "va": "top", "ha": "right"}
                panel.text(edge, below, words, SMALL, **how)
                break

    def _draw_pairs(self, panel, left, top, room, n_pairs, n_examples) -> None:
        """Draw a strip of pictures for each of the most confused pairs."""
        thumbnails = Thumbnails(self.images)
        n_across = min(n_examples, int((room + _GAP) // (_PICTURE + _GAP)))
        self.shown_ = {}
        for pair in self.pairs[: n_pairs if n_across > 0 else 0]:
            if top - BODY * LINE - _PICTURE < 0.05:
                break
            true, said = (self.display_labels[i] for i in (pair.true, pair.predicted))
            words = _heading(len(pair.rows), true, said, room)
            panel.text(left, top, words, BODY, va="top")
            top -= BODY * LINE + _PICTURE
            rows = pair.rows[:n_across]
            for k, row in enumerate(rows):
                at = left + k * (_PICTURE + _GAP)
                panel.picture(thumbnails[row], at, top, _PICTURE)
            self.shown_[pair.true, pair.predicted] = rows
            top -= 0.12


def _heading(n: int, true: str, said: str, room: float) -> str:
    """Return a line about a confused pair, its names shortened if they have to be."""
    times = "once" if n == 1 else f"{n} times"
    words = "{} taken for {}, " + times if room > 2 else "{} → {}: " + str(n)
    if widest([words.format(true, said)], BODY) > room:
        half = (room - widest([words.format("", "")], BODY)) / 2
        true, said = (fitted(name, half, BODY) for name in (true, said))
    return words.format(true, said)
