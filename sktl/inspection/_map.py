"""``EmbeddingMapDisplay``: images near those that a network finds alike."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state

from sktl.images import ImageRows
from sktl.inspection._classes import (
    COLOURS,
    OTHER,
    codes_of,
    colour_of,
    mark_of,
    names_of,
)
from sktl.inspection._estimators import embeddings_of, rows_for
from sktl.inspection._panel import BODY, LINE, MUTED, RULE, SMALL, Panel, draw_picture
from sktl.inspection._placement import in_turns, place, window_of
from sktl.inspection._reduction import in_two_dimensions, name_of
from sktl.inspection._text import fitted, widest
from sktl.inspection._thumbnails import Thumbnails


class EmbeddingMapDisplay:
    """Map of embeddings in two dimensions, with pictures where there is room.

    Make it with :meth:`from_estimator` or :meth:`from_embeddings`.

    Parameters
    ----------
    positions : ndarray of shape (n_samples, 2)
        Where the images lie; NaN for those without an embedding.

    method : str
        What made the positions, to be named in the title.

    axis_labels : (str, str), default=("", "")
        What the axes mean, if anything.

    classes : ndarray of int or None, default=None
        The class of each image, a position in ``class_names``.

    class_names : list of str, default=()
        Names of the classes.

    images : ImageRows or None, default=None
        The images.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The map.

    bounding_ax_ : matplotlib Axes
        The axes that hold the map and its legend.

    figure_ : matplotlib Figure
        The figure.

    shown_ : ndarray of int
        The rows of X that are shown as pictures.

    boxes_ : ndarray of shape (n_shown, 4)
        Their places: left, bottom, right and top, in units of the map.

    text_ : list of matplotlib Text
        The legend.

    See Also
    --------
    sklearn.manifold.TSNE : Keeps neighbours together; far distances mean nothing.
    sklearn.decomposition.PCA : Keeps far distances; linear.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.inspection import EmbeddingMapDisplay
    >>> rng = np.random.default_rng(0)
    >>> embeddings = rng.normal(size=(20, 8))
    >>> images = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    >>> display = EmbeddingMapDisplay.from_embeddings(
    ...     embeddings, ["cat", "dog"] * 10, images=images
    ... )
    >>> display.positions.shape, display.class_names
    ((20, 2), ['cat', 'dog'])
    """

    def __init__(
        self,
        positions,
        *,
        method,
        axis_labels=("", ""),
        classes=None,
        class_names=(),
        images=None,
    ):
        self.positions = positions
        self.method = method
        self.axis_labels = axis_labels
        self.classes = classes
        self.class_names = class_names
        self.images = images

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        method="pca",
        display_labels=None,
        random_state=0,
        ax=None,
        **plot_params,
    ):
        """Embed images as a fitted estimator does, and map them.

        Parameters
        ----------
        estimator : fitted estimator
            A pipeline: its steps before the head give the embeddings, as the head
            sees them. Or a ``PretrainedFeatures``, a fine-tuned estimator, or a
            search over any of these.

        X : array-like of images
            The images.

        y : array-like of shape (n_samples,), default=None
            Their classes, for colours.

        method : {"pca", "tsne", "umap"} or transformer, default="pca"
            How to get to two dimensions. ``"umap"`` needs the package umap-learn; any
            object with ``fit_transform`` will do.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of the sorted labels or by label.

        random_state : int, RandomState instance or None, default=0
            For the methods that draw lots.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        **plot_params : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : EmbeddingMapDisplay
            The display, drawn.
        """
        return cls.from_embeddings(
            embeddings_of(estimator, X),
            y,
            images=rows_for(estimator, X),
            method=method,
            display_labels=display_labels,
            random_state=random_state,
            ax=ax,
            **plot_params,
        )

    @classmethod
    def from_embeddings(
        cls,
        embeddings,
        y=None,
        *,
        images=None,
        method="pca",
        display_labels=None,
        random_state=0,
        ax=None,
        **plot_params,
    ):
        """Map embeddings that were computed elsewhere.

        Parameters
        ----------
        embeddings : array-like of shape (n_samples, n_features)
            One row for each image. Rows with NaN, as ``on_error="nan"`` leaves them,
            are not drawn.

        y : array-like of shape (n_samples,), default=None
            The classes, for colours.

        images : array-like of images, default=None
            The images, for pictures; None draws points alone.

        method : {"pca", "tsne", "umap"} or transformer, default="pca"
            How to get to two dimensions.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of the sorted labels or by label.

        random_state : int, RandomState instance or None, default=0
            For the methods that draw lots.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        **plot_params : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : EmbeddingMapDisplay
            The display, drawn.
        """
        embeddings = check_array(embeddings, ensure_all_finite="allow-nan")
        images = None if images is None else ImageRows.of(images)
        check_consistent_length(embeddings, y, images)
        classes, names = None, []
        if y is not None:
            labels = np.unique(np.asarray(y))
            classes = codes_of(y, labels, "y")
            names = names_of(labels, display_labels)
        known = np.isfinite(embeddings).all(axis=1)
        positions = np.full((len(embeddings), 2), np.nan)
        positions[known], axis_labels = in_two_dimensions(
            embeddings[known], method, random_state
        )
        display = cls(
            positions,
            method=name_of(method),
            axis_labels=axis_labels,
            classes=classes,
            class_names=names,
            images=images,
        )
        return display.plot(ax=ax, **plot_params)

    def plot(
        self, ax=None, *, n_images=80, image_size=0.38, max_classes=20, random_state=0
    ):
        """Draw points, and pictures in place of points as far as none overlap.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        n_images : int, default=80
            Pictures to place at most. Classes take turns.

        image_size : float, default=0.38
            Longer side of a picture in inches.

        max_classes : int, default=20
            Classes with a colour of their own: the largest ones. The others are grey.

        random_state : int, RandomState instance or None, default=0
            Which images become pictures.

        Returns
        -------
        display : EmbeddingMapDisplay
            The display itself.
        """
        ranks, entries = self._legend(max_classes)
        legend = 0.0
        if entries:
            legend = min(widest([name for name, _ in entries], SMALL), 1.7) + 0.5
        height = max(6.2, len(entries) * SMALL * LINE * 1.15 + 0.9)
        panel = Panel("EmbeddingMapDisplay.plot", ax, 6.4 + legend, height)
        legend = min(legend, 0.35 * panel.width)
        n = int(np.isfinite(self.positions).all(axis=1).sum())
        self.title_, top = panel.title(f"{self.method} of {n} embeddings")
        named = any(self.axis_labels)
        bottom, left = (0.45, 0.4) if named else (0.15, 0.15)
        width, height = panel.width - left - legend - 0.15, top - bottom
        self.ax_ = panel.axes(left, bottom, width, height)
        self.bounding_ax_, self.figure_ = panel.ax, panel.figure
        self._draw_points(ranks, width, height)
        if named:
            how = {"ha": "center", "va": "top"}
            words = fitted(self.axis_labels[0], width, BODY)
            panel.text(left + width / 2, bottom - 0.1, words, BODY, **how)
            how = {"ha": "center", "va": "center", "rotation": 90}
            words = fitted(self.axis_labels[1], height, BODY)
            panel.text(left - 0.2, bottom + height / 2, words, BODY, **how)
        n_beyond = self._n_beyond()
        if n_beyond:
            words = f"{n_beyond} outlier{'s' * (n_beyond > 1)} beyond the frame"
            how = {"color": MUTED, "va": "top", "ha": "right"}
            panel.text(left + width - 0.08, top - 0.08, words, SMALL, **how)
        inch = (self.ax_.get_xlim()[1] - self.ax_.get_xlim()[0]) / width
        self._draw_pictures(
            ranks, n_images, image_size * inch, check_random_state(random_state)
        )
        self.text_ = self._draw_legend(
            panel, entries, left + width + 0.2, top, legend - 0.45
        )
        return self

    def _legend(self, max_classes: int) -> tuple[np.ndarray, list[tuple[str, int]]]:
        """Return the rank of each image's class, -1 for grey, and the entries."""
        if self.classes is None:
            return np.zeros(len(self.positions), dtype=int), []
        counts = np.bincount(self.classes, minlength=len(self.class_names))
        named = np.argsort(-counts, kind="stable")[:max_classes]
        named = np.sort(named[counts[named] > 0])
        rank = np.full(len(counts), -1)
        rank[named] = np.arange(len(named))
        entries = [(self.class_names[i], k) for k, i in enumerate(named)]
        n_others = np.count_nonzero(counts) - len(named)
        if n_others:
            entries.append((f"{n_others} other classes", -1))
        return rank[self.classes], entries

    def _draw_points(self, ranks: np.ndarray, width: float, height: float) -> None:
        """Draw all images as points, on axes with equal units."""
        ax, points = self.ax_, self.positions
        low, high = window_of(points[np.isfinite(points).all(axis=1)])
        middle, half = (low + high) / 2, (high - low) / 2
        unit = max(half[0] / width, half[1] / height) or 1.0
        ax.set_xlim(middle[0] - unit * width, middle[0] + unit * width)
        ax.set_ylim(middle[1] - unit * height, middle[1] + unit * height)
        ax.set_aspect("equal")
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set_color(RULE)
        size = float(np.clip(4000 / len(points), 4, 26))
        for rank in np.unique(ranks):
            own = points[ranks == rank]
            colour = OTHER if rank < 0 else colour_of(rank)
            mark = "." if rank < 0 else mark_of(rank)
            ax.scatter(*own.T, s=size, c=colour, marker=mark, linewidths=0, alpha=0.75)

    def _n_beyond(self) -> int:
        """Return how many images lie outside the part of the plane that is shown."""
        (left, right), (bottom, top) = self.ax_.get_xlim(), self.ax_.get_ylim()
        x, y = self.positions[np.isfinite(self.positions).all(axis=1)].T
        return int(((x < left) | (x > right) | (y < bottom) | (y > top)).sum())

    def _draw_pictures(self, ranks, n_images, side, rng) -> None:
        """Draw pictures where they do not overlap, framed in the class's colour."""
        if self.images is None:
            self.shown_, self.boxes_ = np.empty(0, dtype=int), np.empty((0, 4))
            return
        thumbnails = Thumbnails(self.images, side=96)
        order = in_turns(ranks, rng)
        order = order[np.isfinite(self.positions[order]).all(axis=1)]
        window = np.array([self.ax_.get_xlim(), self.ax_.get_ylim()]).T
        self.shown_ = place(self.positions, order, 1.08 * side, window, n_images)
        boxes = []
        for row in self.shown_.tolist():
            pixels = thumbnails[row]
            half = np.array(pixels.shape[1::-1]) / max(pixels.shape[:2]) * side / 2
            low, high = self.positions[row] - half, self.positions[row] + half
            boxes.append((*low, *high))
            frame = OTHER if ranks[row] < 0 else colour_of(ranks[row])
            if self.classes is None:
                frame = None
            extent = (low[0], high[0], low[1], high[1])
            draw_picture(self.ax_, pixels, extent, frame, zorder=3)
            if ranks.max() >= len(COLOURS):  # colours repeat: the mark tells
                self.ax_.scatter(
                    low[0],
                    high[1],
                    s=34,
                    c=frame,
                    marker="." if ranks[row] < 0 else mark_of(ranks[row]),
                    edgecolors="white",
                    linewidths=0.8,
                    zorder=4,
                )
        self.boxes_ = np.array(boxes).reshape(-1, 4)

    def _draw_legend(self, panel, entries, left, top, room) -> list:
        """Write the names of the classes beside their marks."""
        texts = []
        step = min(SMALL * LINE * 1.15, (top - 0.1) / max(len(entries), 1))
        points = min(SMALL, step / LINE / 1.05)
        for k, (name, rank) in enumerate(entries):
            y = top - (k + 0.5) * step
            colour = OTHER if rank < 0 else colour_of(rank)
            mark = "." if rank < 0 else mark_of(rank)
            panel.ax.plot(left, y, mark, color=colour, ms=0.75 * points, mew=0)
            words = fitted(name, room, points)
            how = {"va": "center_baseline", "color": MUTED if rank < 0 else "black"}
            texts.append(panel.text(left + 0.13, y, words, points, **how))
        return texts
