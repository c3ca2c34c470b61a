"""``EmbeddingMapDisplay``: similar images lie near each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_consistent_length, check_random_state

from sktl._extras import has_module
from sktl.exceptions import MissingExtraError
from sktl.images import ImageRows
from sktl.inspection._classes import codes_of, colour_of, mark_of, names_of, turns_of
from sktl.inspection._fitted_steps import embeddings_of, images_for
from sktl.inspection._panel import BODY, LINE, SMALL, Panel, draw_image, fitted, widest
from sktl.inspection._thumbnails import Thumbnails

_METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


@dataclass(eq=False, repr=False)
class EmbeddingMapDisplay:
    """Map of embeddings in two dimensions, with pictures where there is room.

    Parameters
    ----------
    positions : ndarray of shape (n_samples, 2)
        Where the images lie; NaN for those without an embedding.

    method : str
        The method that gave the positions, for the title.

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
    ax_, bounding_ax_, figure_ : matplotlib Axes and Figure
        The map, the axes that hold it and its legend, and their figure.

    shown_ : ndarray of int
        The rows of X that are shown as pictures.

    boxes_ : ndarray of shape (n_shown, 4)
        Their places: left, bottom, right and top, in units of the map.

    text_ : list of matplotlib Text
        The legend.

    Notes
    -----
    PCA keeps large distances. t-SNE and UMAP keep neighbours together, and large
    distances mean nothing.

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

    positions: np.ndarray
    _: KW_ONLY
    method: str
    axis_labels: tuple[str, str] = ("", "")
    classes: np.ndarray | None = None
    class_names: Sequence[str] = ()
    images: ImageRows | None = None

    @classmethod
    def from_estimator(cls, estimator, X, y=None, **params) -> EmbeddingMapDisplay:
        """Embed images with a fitted estimator, and map them.

        Parameters
        ----------
        estimator : fitted estimator
            A pipeline, whose embeddings are taken right before its head; a
            ``PretrainedFeatures``; a fine-tuned estimator; or a search over these.

        X : array-like of images
            The images.

        y : array-like of shape (n_samples,), default=None
            Their classes, for colours.

        **params : dict
            Passed to :meth:`from_embeddings`: ``method``, ``display_labels``,
            ``random_state``, ``ax`` and the parameters of :meth:`plot`.

        Returns
        -------
        display : EmbeddingMapDisplay
            The display, drawn.
        """
        embeddings, images = embeddings_of(estimator, X), images_for(estimator, X)
        return cls.from_embeddings(embeddings, y, images=images, **params)

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
        **plot_params,
    ) -> EmbeddingMapDisplay:
        """Map embeddings that were computed elsewhere.

        Parameters
        ----------
        embeddings : array-like of shape (n_samples, n_features)
            One row for each image. Rows with NaN, as ``on_error="nan"`` leaves them,
            are not drawn.

        y : array-like of shape (n_samples,), default=None
            The classes, for colours.

        images : array-like of images, default=None
            The images, for pictures; None draws points only.

        method : {"pca", "tsne", "umap"} or transformer, default="pca"
            How to reduce to two dimensions. ``"umap"`` needs the package umap-learn; an
            object with ``fit_transform`` works too.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of the sorted labels or by label.

        random_state : int, RandomState instance or None, default=0
            Seed of the methods that are random.

        **plot_params : dict
            Passed to :meth:`plot`, such as ``ax``.

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
        positions[known], axis_labels = _in_two_dimensions(
            embeddings[known], method, random_state
        )
        display = cls(
            positions,
            method=_METHODS[method] if type(method) is str else type(method).__name__,
            axis_labels=axis_labels,
            classes=classes,
            class_names=names,
            images=images,
        )
        return display.plot(**plot_params)

    def legend(self, max_classes: int) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Return the rank of each image's class, -1 if small, and each rank's name."""
        if self.classes is None:
            return np.zeros(len(self.positions), dtype=int), []
        counts = np.bincount(self.classes, minlength=len(self.class_names))
        largest = np.argsort(-counts, kind="stable")[:max_classes]
        largest = np.sort(largest[counts[largest] > 0])
        ranks = np.full(len(counts), -1)
        ranks[largest] = np.arange(len(largest))
        names = [(rank, self.class_names[i]) for rank, i in enumerate(largest)]
        n_others = np.count_nonzero(counts) - len(largest)
        if n_others:
            names.append((-1, f"{n_others} other classes"))
        return ranks[self.classes], names

    def layout(
        self, size: np.ndarray, ranks: np.ndarray, *, side, n_images, random_state=0
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Choose what to show in a drawing, whose size is in any unit of length.

        Returns the lower left corner of the part of the plane to show, the length in
        the plane of one unit of the drawing, and the rows to show as pictures. These
        do not overlap, and the ranks take turns.
        """
        low, high = _window(self.positions[np.isfinite(self.positions).all(axis=1)])
        unit = float(((high - low) / size).max()) or 1.0
        corner = (low + high) / 2 - unit * size / 2
        places, side = (self.positions - corner) / unit, 1.08 * side
        order = check_random_state(random_state).permutation(len(ranks))
        order = order[np.argsort(turns_of(ranks[order]), kind="stable")]
        shown: list[int] = []
        for row in order.tolist() if self.images is not None else ():
            if len(shown) >= n_images:
                break
            inside = (places[row] >= side / 2) & (places[row] <= size - side / 2)
            apart = np.abs(places[shown] - places[row]).max(axis=1) >= side
            if inside.all() and apart.all():  # never for NaN
                shown.append(row)
        return corner, unit, np.array(shown, dtype=int)

    def plot(
        self, ax=None, *, n_images=80, image_size=0.38, max_classes=20, random_state=0
    ) -> EmbeddingMapDisplay:
        """Draw points, and pictures in place of points where they do not overlap.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        n_images : int, default=80
            Pictures to show at most. Classes take turns.

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
        ranks, names = self.legend(max_classes)
        beside = min(widest((n for _, n in names), SMALL), 1.7) + 0.5 if names else 0.0
        below = max(6.2, len(names) * 1.15 * SMALL * LINE + 0.9)
        panel = Panel("EmbeddingMapDisplay.plot", ax, 6.4 + beside, below)
        self.bounding_ax_, self.figure_ = panel.ax, panel.figure
        beside = min(beside, 0.35 * panel.width)
        bottom, left = (0.45, 0.4) if any(self.axis_labels) else (0.15, 0.15)
        size = np.array([panel.width - left - beside - 0.15, panel.top - bottom])
        corner, unit, self.shown_ = self.layout(
            size, ranks, side=image_size, n_images=n_images, random_state=random_state
        )
        opposite = corner + unit * size
        self.ax_ = panel.axes(left, bottom, *size)
        self.ax_.set(xlim=(corner[0], opposite[0]), ylim=(corner[1], opposite[1]))
        self.ax_.set(aspect="equal", xticks=[], yticks=[])
        self.ax_.set_xlabel(fitted(self.axis_labels[0], size[0], BODY), fontsize=BODY)
        self.ax_.set_ylabel(fitted(self.axis_labels[1], size[1], BODY), fontsize=BODY)
        for rank, name in names or [(0, "")]:
            look: dict[str, Any] = {
                "c": colour_of(rank),
                "marker": mark_of(rank),
                "label": name,
            }
            look |= {"s": np.clip(4000 / len(ranks), 4, 26), "alpha": 0.75}
            self.ax_.scatter(*self.positions[ranks == rank].T, linewidths=0, **look)
        self._draw_pictures(ranks, image_size * unit)
        self.text_ = self._draw_legend(beside - 0.45, size[1]) if names else []
        title = f"{self.method} of {np.isfinite(self.positions[:, 0]).sum()} embeddings"
        beyond = (self.positions < corner) | (self.positions > opposite)
        n_beyond = int(beyond.any(axis=1).sum())
        if n_beyond:
            title += f", {n_beyond} outlier{'s' * (n_beyond > 1)} not shown"
        self.title_ = panel.title(title)
        return self

    def _draw_pictures(self, ranks: np.ndarray, side: float) -> None:
        """Draw pictures framed in the colours of their classes."""
        self.boxes_ = np.empty((0, 4))
        if self.images is None:
            return
        thumbnails = Thumbnails(self.images, side=96)
        for row in self.shown_.tolist():
            pixels, rank = thumbnails[row], ranks[row]
            half = np.array(pixels.shape[1::-1]) / max(pixels.shape[:2]) * side / 2
            low, high = self.positions[row] - half, self.positions[row] + half
            self.boxes_ = np.vstack([self.boxes_, [*low, *high]])
            frame = None if self.classes is None else colour_of(rank)
            extent = (low[0], high[0], low[1], high[1])
            draw_image(self.ax_, pixels, extent, frame, zorder=3)
            if mark_of(ranks.max()) != mark_of(0):  # colours repeat, marks differ
                look: dict[str, Any] = {
                    "marker": mark_of(rank),
                    "edgecolors": "white",
                    "linewidths": 1,
                }
                self.ax_.scatter(low[0], high[1], s=34, c=frame, zorder=4, **look)

    def _draw_legend(self, width: float, height: float) -> list:
        """Write the names of the classes beside the map, in smaller type if many."""
        handles, names = self.ax_.get_legend_handles_labels()
        points = min(SMALL, height / len(names) / LINE / 1.15)
        names = [fitted(name, width, points) for name in names]
        how: dict[str, Any] = {
            "loc": "upper left",
            "bbox_to_anchor": (1, 1),
            "frameon": False,
        }
        how |= {"borderaxespad": 0, "borderpad": 0.2, "fontsize": points}
        how |= {"handlelength": 1, "labelspacing": 0.3}
        legend = self.ax_.legend(handles, names, **how)
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            assert handle is not None
            handle.set(sizes=[4 * points], alpha=1)
            text.set_parse_math(False)
        return legend.get_texts()


def _window(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the part of the plane to show: nearly all positions.

    A few outliers would squeeze all other images into one spot.
    """
    low, high = positions.min(axis=0), positions.max(axis=0)
    inner_low, inner_high = np.quantile(positions, (0.02, 0.98), axis=0)
    reach = 0.3 * (inner_high - inner_low)
    low, high = np.maximum(low, inner_low - reach), np.minimum(high, inner_high + reach)
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _in_two_dimensions(
    embeddings: np.ndarray, method, random_state
) -> tuple[np.ndarray, tuple[str, str]]:
    """Return positions in two dimensions, and what the axes mean."""
    n, d = embeddings.shape
    if n < 3 or d < 2:
        raise ValueError(
            f"A map needs at least 3 embeddings of 2 features; there are {n} of {d}."
        )
    if method == "pca":
        solver = "full" if d <= 500 else "randomized"
        pca = PCA(2, svd_solver=solver, random_state=random_state)
        positions = pca.fit_transform(embeddings)
        first, second = pca.explained_variance_ratio_
        return positions, (
            f"first component ({first:.0%} of the variance)",
            f"second component ({second:.0%})",
        )
    if method == "tsne":
        from sklearn.manifold import TSNE

        if d > 50 and n > 50:  # as scikit-learn advises: faster, and less noise
            pca = PCA(50, svd_solver="randomized", random_state=random_state)
            embeddings = pca.fit_transform(embeddings)
        perplexity = min(30.0, (n - 1) / 3)
        method = TSNE(perplexity=perplexity, init="pca", random_state=random_state)
    elif method == "umap":
        if not has_module("umap"):
            raise MissingExtraError(
                "method='umap' needs the package umap-learn: pip install umap-learn. "
                "method='tsne' needs nothing more."
            )
        from umap import UMAP

        method = UMAP(random_state=random_state, n_jobs=1)  # a seed needs one job
    elif isinstance(method, str):
        raise ValueError(
            f"method={method!r} is unknown. Choose 'pca', 'tsne', 'umap' or pass a "
            "transformer to two dimensions."
        )
    positions = np.asarray(method.fit_transform(embeddings))
    if positions.shape != (n, 2):
        raise ValueError(
            f"method={method!r} gave positions of shape {positions.shape}; a map "
            f"needs ({n}, 2). Set its n_components=2."
        )
    return positions, ("", "")
