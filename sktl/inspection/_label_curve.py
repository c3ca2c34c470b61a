"""``LabelCurveDisplay``: what more labels would bring."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import StratifiedShuffleSplit, check_cv
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state

from sktl.inspection._classes import COLOURS, mark_of
from sktl.inspection._panel import BODY, RULE, SMALL, Panel
from sktl.inspection._text import fitted

_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class LabelCurveDisplay:
    """Score against the number of labelled images of each class.

    Make it with :meth:`from_estimator`.

    Parameters
    ----------
    n_labels : ndarray of shape (n_sizes,)
        Labels of each class.

    scores : dict of str to ndarray of shape (n_sizes, n_draws)
        Scores of each estimator on held-out images. Draw i holds the same images for
        all estimators, and those of a smaller size are among those of a larger one.

    score_name : str, default="score"
        What the scores are.

    n_classes : int or None, default=None
        Number of classes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.

    bounding_ax_ : matplotlib Axes
        The axes that hold them and the title.

    figure_ : matplotlib Figure
        The figure.

    lines_ : dict of str to matplotlib Line2D
        The mean of each estimator.

    bands_ : dict of str to matplotlib PolyCollection
        One standard deviation over the draws, on both sides.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Over any number of rows, for one
        estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sktl.inspection import LabelCurveDisplay
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> display = LabelCurveDisplay.from_estimator(
    ...     [LogisticRegression(), KNeighborsClassifier(1)], X, y, n_labels=(1, 5), cv=3
    ... )
    >>> display.scores["LogisticRegression"].shape
    (2, 3)
    """

    def __init__(self, n_labels, scores, *, score_name="score", n_classes=None):
        self.n_labels = n_labels
        self.scores = scores
        self.score_name = score_name
        self.n_classes = n_classes

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        n_labels="auto",
        cv=10,
        groups=None,
        scoring=None,
        random_state=0,
        n_jobs=None,
        ax=None,
        **plot_params,
    ):
        """Fit to ever more labels, many times, and score on held-out images.

        Parameters
        ----------
        estimator : classifier, or list or dict of them
            What to fit; a dict gives names.

        X : array-like of images
            The images; anything that the estimators take.

        y : array-like of shape (n_samples,)
            Their classes.

        n_labels : "auto" or list of int, default="auto"
            Labels of each class. ``"auto"`` takes 1, 2, 5, 10, 20, 50, ... as far as
            the smallest class goes, in all training parts.

        cv : int or splitter, default=10
            An int is the number of random draws: each holds out 30 % of each class
            and draws labels from the rest. A splitter gives the two parts itself.

        groups : array-like of shape (n_samples,), default=None
            For splitters that keep groups together.

        scoring : str or callable, default=None
            As in scikit-learn; None takes the estimator's ``score``.

        random_state : int, RandomState instance or None, default=0
            Draws the parts and the labels.

        n_jobs : int, default=None
            Fits to run at a time.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        **plot_params : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : LabelCurveDisplay
            The display, drawn.

        Notes
        -----
        Fits each estimator once for each size and draw. Frozen features are computed
        once for each image in all of them, thanks to the cache of
        :class:`~sktl.PretrainedFeatures`.
        """
        estimators = _named(estimator)
        y = np.asarray(y)
        if y.ndim != 1:
            raise ValueError(f"y has shape {y.shape}; labels are counted per class.")
        classes, codes = np.unique(y, return_inverse=True)
        fractions = y.dtype.kind == "f" and (y % 1).any()
        if len(classes) < 2 or fractions:
            raise ValueError(
                f"y has {len(classes)} distinct values of type {y.dtype}; a label "
                "curve needs two classes or more. For regression, use "
                "sklearn.model_selection.LearningCurveDisplay."
            )
        X = list(X) if isinstance(X, tuple) else X
        check_consistent_length(X, y, groups)
        rng = check_random_state(random_state)
        if isinstance(cv, Integral):
            cv = StratifiedShuffleSplit(cv, test_size=0.3, random_state=rng)
        parts = list(check_cv(cv, y, classifier=True).split(y, y, groups))
        smallest = min(
            np.bincount(codes[train], minlength=len(classes)).min()
            for train, _ in parts
        )
        sizes = _sizes(n_labels, int(smallest))
        draws = [(draw_labels(train, codes, sizes, rng), test) for train, test in parts]
        scorers = {
            name: check_scoring(model, scoring) for name, model in estimators.items()
        }
        jobs = [
            (name, train, test)
            for name in estimators
            for k in range(len(sizes))
            for trains, test in draws
            for train in [trains[k]]
        ]
        scores = Parallel(n_jobs=n_jobs)(
            delayed(_fit_and_score)(estimators[name], X, y, train, test, scorers[name])
            for name, train, test in jobs
        )
        shape = (len(estimators), len(sizes), len(draws))
        table = np.array(scores, dtype=float).reshape(shape)
        display = cls(
            np.array(sizes),
            dict(zip(estimators, table, strict=True)),
            score_name=_score_name(scoring),
            n_classes=len(classes),
        )
        return display.plot(ax=ax, **plot_params)

    def plot(self, ax=None, *, spread=True):
        """Draw the mean of each estimator and its spread over the draws.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        spread : bool, default=True
            Shade one standard deviation over the draws.

        Returns
        -------
        display : LabelCurveDisplay
            The display itself.
        """
        panel = Panel("LabelCurveDisplay.plot", ax, 6.4, 4.6)
        self.bounding_ax_, self.figure_ = panel.ax, panel.figure
        n_draws = next(iter(self.scores.values())).shape[1]
        name = self.score_name[:1].upper() + self.score_name[1:]
        self.title_, top = panel.title(
            f"{name} by labels per class, mean of {n_draws} draws"
        )
        bottom, left = 0.55, 0.75
        self.ax_ = ax = panel.axes(
            left, bottom, panel.width - left - 0.2, top - bottom - 0.08
        )
        x = np.asarray(self.n_labels)
        self.lines_, self.bands_ = {}, {}
        for k, (name, scores) in enumerate(self.scores.items()):
            mean, deviation = scores.mean(axis=1), scores.std(axis=1)
            colour = COLOURS[(0, 6, 2, 3, 1, 5, 4, 7)[k % len(COLOURS)]]
            # Curves that share an x would hide each other's marks.
            (self.lines_[name],) = ax.plot(
                x,
                mean,
                color=colour,
                marker=mark_of(8 * k),
                markersize=5,
                linewidth=1.8,
                label=fitted(name, 0.6 * panel.width, SMALL),
                zorder=3,
            )
            if spread:
                low, high = mean - deviation, mean + deviation
                self.bands_[name] = ax.fill_between(
                    x, low, high, color=colour, alpha=0.15, lw=0, zorder=1
                )
        ax.set_xscale("log")
        ax.set_xticks(x, [str(size) for size in x])
        ax.minorticks_off()
        ax.tick_params(labelsize=SMALL, color=RULE)
        ax.grid(color="#ececec", lw=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(RULE)
        of = f" of each of {self.n_classes} classes" if self.n_classes else " per class"
        ax.set_xlabel(f"labelled images{of}", fontsize=BODY)
        band = ", ± 1 standard deviation" if spread else ""
        ax.set_ylabel(f"{self.score_name}{band}", fontsize=BODY)
        legend = ax.legend(fontsize=SMALL, loc="lower right", frameon=True)
        legend.get_frame().set(alpha=0.8, linewidth=0)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return self


def draw_labels(train: np.ndarray, codes, sizes, rng) -> list[np.ndarray]:
    """Return rows with n of each class for each n; a larger set holds the smaller."""
    order = rng.permutation(np.asarray(train))
    place = np.empty(len(order), dtype=int)  # its place among those of its class
    for code in np.unique(codes[order]):
        own = np.flatnonzero(codes[order] == code)
        place[own] = np.arange(len(own))
    return [np.sort(order[place < size]) for size in sizes]


def _sizes(n_labels, smallest: int) -> list[int]:
    """Return the sizes to draw, or say which of them cannot be."""
    if isinstance(n_labels, str) and n_labels == "auto":
        return [size for size in _SIZES if size <= smallest]
    sizes = sorted({int(size) for size in n_labels})
    if not sizes or sizes[0] < 1:
        raise ValueError(f"n_labels={n_labels!r} has to hold numbers from 1 on.")
    if sizes[-1] > smallest:
        raise ValueError(
            f"n_labels asks for {sizes[-1]} labels of each class, and the smallest "
            f"class has {smallest} in a training part. Pass smaller numbers, or "
            "n_labels='auto'."
        )
    return sizes


def _named(estimator) -> dict:
    """Return estimators by name."""
    if isinstance(estimator, Mapping):
        named = dict(estimator)
    else:
        several = estimator if isinstance(estimator, list | tuple) else [estimator]
        named = {}
        for one in several:
            name = base = _short_name(one)
            number = 2
            while name in named:
                name, number = f"{base} ({number})", number + 1
            named[name] = one
    if not named:
        raise ValueError("There is no estimator to fit.")
    return named


def _short_name(estimator) -> str:
    """Return the steps of a pipeline in words."""
    steps = getattr(estimator, "steps", None)
    if steps is None:
        return type(estimator).__name__
    return " + ".join(_short_name(step) for _, step in steps if hasattr(step, "fit"))


def _score_name(scoring) -> str:
    """Return what the scores are."""
    if scoring is None:
        return "accuracy"
    if isinstance(scoring, str):
        return scoring.replace("_", " ")
    return getattr(scoring, "__name__", "score").replace("_", " ")


def _fit_and_score(estimator, X, y, train, test, scorer) -> float:
    """Return the score of one fit."""
    fitted = clone(estimator).fit(_safe_indexing(X, train), y[train])
    return scorer(fitted, _safe_indexing(X, test), y[test])
