"""``ImageConfusionDisplay``: which classes are confused, and what that looks like."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import confusion_matrix

from sktl.images import ImageRows
from sktl.inspection._classes import CORRECT, WRONG
from sktl.inspection._panel import BODY, INK, LINE, MUTED, SMALL, Panel, fitted, widest
from sktl.inspection._predictions import Predictions, PredictionsDisplay
from sktl.inspection._thumbnails import Thumbnails

_SIDE, _GAP = 0.72, 0.06  # of pictures, in inches
_STRIP = BODY * LINE + _SIDE + 0.12  # a heading and its pictures


class ConfusedPair(NamedTuple):
    """Two classes, by their positions in the matrix, and the rows confused."""

    true: int
    predicted: int
    rows: tuple[int, ...]


@dataclass(eq=False, repr=False)
class ImageConfusionDisplay(PredictionsDisplay):
    """Confusion matrix beside pictures of the most confused pairs of classes.

    Parameters
    ----------
    confusion_matrix : ndarray of shape (n_classes, n_classes)
        Counts; rows are true classes, columns predicted ones.

    display_labels : list of str
        Names of the classes.

    pairs : list of (true, predicted, rows)
        The confused pairs of classes, the most frequent first, and all rows of X of
        each pair, the most confident first.

    images : ImageRows
        The images, to which the rows of the pairs refer.

    Attributes
    ----------
    ax_, bounding_ax_, figure_ : matplotlib Axes and Figure
        The matrix, the axes that hold it and the pictures, and their figure.

    text_ : dict of (int, int) to matplotlib Text
        The counts written in the matrix, by the positions of their classes; the
        number of classes is the position of those counted together.

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

    confusion_matrix: np.ndarray
    _: KW_ONLY
    display_labels: list[str]
    pairs: list[ConfusedPair]
    images: ImageRows

    @classmethod
    def compute(cls, predictions: Predictions) -> ImageConfusionDisplay:
        """Return the display without drawing it."""
        true, predicted = predictions.true, predictions.predicted
        rows_of: dict[tuple[int, int], list[int]] = {}
        for row in predictions.wrong.tolist():
            pair = int(true[row]), int(predicted[row])
            rows_of.setdefault(pair, []).append(row)
        pairs = [ConfusedPair(*pair, tuple(rows)) for pair, rows in rows_of.items()]
        pairs.sort(key=lambda pair: (-len(pair.rows), pair.true, pair.predicted))
        return cls(
            confusion_matrix(true, predicted, labels=range(len(predictions.names))),
            display_labels=predictions.names,
            pairs=pairs,
            images=predictions.images,
        )

    def plot(
        self, ax=None, *, n_pairs=6, n_examples=5, max_classes=20
    ) -> ImageConfusionDisplay:
        """Draw the matrix and the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; the matrix and the pictures share its place. None makes a
            figure.

        n_pairs : int, default=6
            Pairs of classes to show at most; fewer if there is no room.

        n_examples : int, default=5
            Pictures of each pair at most; fewer if there is no room.

        max_classes : int, default=20
            Classes that get a row of their own: those of the most frequent
            confusions. The others are counted together.

        Returns
        -------
        display : ImageConfusionDisplay
            The display itself.
        """
        self.classes_shown_, counts, names = self._grouped(max_classes)
        n_pairs = min(n_pairs, len(self.pairs))
        # In inches: the matrix, the names of its classes, and the strips beside it.
        size = float(np.clip(0.36 * len(names), 2.6, 6.6))
        label = min(widest(names, SMALL), 1.5) + 0.12
        below = label if widest(names, SMALL) > size / len(names) - 0.06 else 0.2
        strips = n_examples * (_SIDE + _GAP) + 0.4 if n_pairs and n_examples else 0.0
        width = 0.75 + label + size + strips
        height = max(size + below + 0.95, (n_pairs * _STRIP if strips else 0) + 0.55)
        panel = Panel("ImageConfusionDisplay.plot", ax, max(width, 4.6), height)
        n, n_wrong = self.confusion_matrix.sum(), sum(len(p.rows) for p in self.pairs)
        share = f" ({n_wrong / n:.1%})" if n else ""
        self.title_ = panel.title(f"{n_wrong} of {n} predictions are wrong{share}")
        label = min(label, 0.3 * min(panel.width, panel.height))
        below = label if ax else min(below, label)
        size = min(size, panel.top - below - 0.55, panel.width - label - 0.75)
        left = 0.45 + label
        self.ax_ = panel.axes(left, panel.top - size, size, size)
        self.bounding_ax_, self.figure_ = panel.ax, panel.figure
        self._draw_matrix(counts, size)
        self._draw_names(names, size, label)
        note = "shade: share of the true class"
        more = f"{note}; mistakes on their own scale"
        note = more if widest([more], SMALL) < left + size - 0.15 else note
        y = panel.top - size - below - 0.42
        panel.text(left + size, y, note, SMALL, color=MUTED, ha="right")
        self._draw_pairs(panel, left + size + 0.3, n_pairs, n_examples)
        return self

    def _grouped(self, max_classes: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return the classes to show, their counts and names; the others as one."""
        matrix, n = self.confusion_matrix, len(self.confusion_matrix)
        if n <= max_classes:
            return np.arange(n), matrix, list(self.display_labels)
        # Both classes of the most frequent confusions, while there is room.
        both = [i for pair in self.pairs for i in (pair.true, pair.predicted)]
        ranked = list(dict.fromkeys([*both, *range(n)]))
        shown = np.sort(ranked[: max(1, max_classes)])
        group = np.full(n, len(shown))
        group[shown] = np.arange(len(shown))
        counts = np.zeros((len(shown) + 1,) * 2, dtype=matrix.dtype)
        np.add.at(counts, (group[:, None], group[None, :]), matrix)
        names = [self.display_labels[i] for i in shown]
        return shown, counts, [*names, f"{n - len(shown)} other classes"]

    def _draw_matrix(self, counts: np.ndarray, size: float) -> None:
        """Draw cells, hits in blue and mistakes in red, and their counts."""
        from matplotlib.colors import to_rgb

        n, n_shown = len(counts), len(self.classes_shown_)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        hit = np.eye(n, dtype=bool)
        # Mistakes are rare in a good model, so they are shaded on their own scale.
        mistakes = share[:n_shown, :n_shown][~hit[:n_shown, :n_shown]]
        strongest = max(mistakes.max(initial=0.0), 1e-9)
        strength = np.where(hit, share, 0.12 + 0.88 * share / strongest) * 0.9
        strength = strength.clip(0, 0.9)
        strength[counts == 0] = 0.0
        colour = np.where(hit[..., None], to_rgb(CORRECT), to_rgb(WRONG))
        cells = 1 - strength[..., None] * (1 - colour)
        cells[n_shown:] = cells[:, n_shown:] = 0.93  # many classes under one name
        self.ax_.imshow(cells, aspect="auto", interpolation="nearest")
        for i in range(1, n):
            self.ax_.axhline(i - 0.5, color="#e4e4e4", lw=0.5)
            self.ax_.axvline(i - 0.5, color="#e4e4e4", lw=0.5)
        position = [*self.classes_shown_.tolist(), len(self.display_labels)]
        digits = len(str(counts.max(initial=0)))
        points = min(BODY + 1, 72 * size / n / (0.68 * digits + 0.4))
        self.text_ = {}
        for i, j in np.argwhere(counts) if points >= 4.5 else ():
            light = cells[i, j] @ (0.299, 0.587, 0.114) > 0.55
            how: dict[str, Any] = {
                "fontsize": points,
                "color": INK if light else "white",
            }
            how |= {"ha": "center", "va": "center"}
            text = self.ax_.text(j, i, str(counts[i, j]), **how)
            self.text_[position[i], position[j]] = text

    def _draw_names(self, names: list[str], size: float, room: float) -> None:
        """Write the names of the rows and columns."""
        step = size / len(names)
        points = min(SMALL, 72 * step / 1.15)
        upright = widest(names, points) > step - 0.06
        names = [fitted(name, room - 0.1, points) for name in names]
        how: dict[str, Any] = {"fontsize": points, "parse_math": False}
        self.ax_.set_yticks(range(len(names)), names, **how)
        self.ax_.set_xticks(range(len(names)), names, rotation=90 * upright, **how)
        self.ax_.tick_params(length=0)
        self.ax_.set_xlabel("predicted", fontsize=BODY)
        self.ax_.set_ylabel("true", fontsize=BODY)

    def _draw_pairs(self, panel, left: float, n_pairs: int, n_examples: int) -> None:
        """Draw a strip of pictures for each of the most confused pairs."""
        thumbnails = Thumbnails(self.images)
        room, top = panel.width - left - 0.1, panel.top
        n_across = min(n_examples, int((room + _GAP) // (_SIDE + _GAP)))
        self.shown_ = {}
        for pair in self.pairs[: n_pairs if n_across > 0 else 0]:
            if top < _STRIP:
                break
            true, predicted = (self.display_labels[i] for i in pair[:2])
            words = _heading(len(pair.rows), true, predicted, room)
            panel.text(left, top, words, BODY, va="top")
            rows = self.shown_[pair[:2]] = pair.rows[:n_across]
            y = top - BODY * LINE - _SIDE
            for k, row in enumerate(rows):
                panel.picture(thumbnails[row], left + k * (_SIDE + _GAP), y, _SIDE)
            top -= _STRIP


def _heading(n: int, true: str, predicted: str, room: float) -> str:
    """Return a line about a confused pair, its names shortened if necessary."""
    times = "once" if n == 1 else f"{n} times"
    words = "{} mistaken for {}, " + times if room > 2 else "{} → {}: " + str(n)
    if widest([words.format(true, predicted)], BODY) > room:
        half = (room - widest([words.format("", "")], BODY)) / 2
        true, predicted = (fitted(name, half, BODY) for name in (true, predicted))
    return words.format(true, predicted)
