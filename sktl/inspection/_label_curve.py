"""``LabelCurveDisplay``: what more labels would bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit, check_cv, cross_val_score
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import type_of_target

from sktl.inspection._classes import look_of_curve, turns_of
from sktl.inspection._panel import BODY, SMALL, Panel, fitted
from sktl.model_selection import bounds_of, read_scoring

_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(eq=False, repr=False)
class LabelCurveDisplay:
    """Score against the number of labelled images of each class.

    Parameters
    ----------
    n_labels : ndarray of shape (n_sizes,)
        Labels of each class.

    scores : dict of str to ndarray of shape (n_sizes, n_draws)
        Scores of each estimator on held-out images. Draw i holds the same images for
        all estimators, and a larger size includes the images of a smaller one.

    score_name : str, default="score"
        The name of the score.

    n_classes : int or None, default=None
        Number of classes.

    Attributes
    ----------
    ax_, bounding_ax_, figure_ : matplotlib Axes and Figure
        The curves, the axes that hold them and the title, and their figure.

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

    n_labels: np.ndarray
    scores: dict[str, np.ndarray]
    _: KW_ONLY
    score_name: str = "score"
    n_classes: int | None = None

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
        **plot_params,
    ) -> LabelCurveDisplay:
        """Fit to more and more labels, many times, and score on held-out images.

        Parameters
        ----------
        estimator : classifier, or list or dict of them
            What to fit; a dict gives names.

        X : array-like of images
            The images, in any form that the estimators take.

        y : array-like of shape (n_samples,)
            Their classes.

        n_labels : "auto" or list of int, default="auto"
            Labels of each class. ``"auto"`` takes 1, 2, 5, 10, 20, 50, ... up to the
            size of the smallest class in any training part.

        cv : int or splitter, default=10
            An int is the number of random draws: each holds out 30% of each class
            and draws labels from the rest. A splitter makes the two parts itself.

        groups : array-like of shape (n_samples,), default=None
            For splitters that keep groups together.

        scoring : str or callable, default=None
            As for :func:`~sktl.model_selection.compare`; None takes the estimator's
            ``score``.

        random_state : int, RandomState instance or None, default=0
            Draws the parts and the labels.

        n_jobs : int, default=None
            Fits to run in parallel.

        **plot_params : dict
            Passed to :meth:`plot`, such as ``ax``.

        Returns
        -------
        display : LabelCurveDisplay
            The display, drawn.

        Notes
        -----
        Fits each estimator once for each size and draw. Thanks to the cache of
        :class:`~sktl.PretrainedFeatures`, each image is embedded only once.
        """
        y = column_or_1d(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2 or type_of_target(y) == "continuous":
            raise ValueError(
                "A label curve needs y to hold two classes or more. For regression, "
                "use sklearn.model_selection.LearningCurveDisplay."
            )
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
        splits = [(drawn[k], test) for k in range(len(sizes)) for drawn, test in draws]
        score_name, scorer = read_scoring(scoring, y, "classification")
        how = {"scoring": scorer, "n_jobs": n_jobs, "error_score": "raise"}
        scores = {
            name: cross_val_score(model, X, y, cv=splits, **how).reshape(len(sizes), -1)
            for name, model in _named(estimator).items()
        }
        display = cls(
            np.array(sizes),
            scores,
            score_name=score_name.replace("_", " "),
            n_classes=len(classes),
        )
        return display.plot(**plot_params)

    def plot(self, ax=None, *, spread=True) -> LabelCurveDisplay:
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
        title = f"{name} by labels per class, mean of {n_draws} draws"
        self.title_ = panel.title(title)
        ax = panel.curve_axes(0.75, 0.55, panel.width - 0.95, panel.top - 0.63)
        self.ax_ = ax
        x = np.asarray(self.n_labels)
        self.lines_, self.bands_ = {}, {}
        for k, (name, scores) in enumerate(self.scores.items()):
            mean, deviation = scores.mean(axis=1), scores.std(axis=1)
            label = fitted(name, 0.6 * panel.width, SMALL)
            look = look_of_curve(k) | {"markersize": 5, "linewidth": 1.8, "zorder": 3}
            (self.lines_[name],) = ax.plot(x, mean, label=label, **look)
            if spread:
                look = {"color": look["color"], "alpha": 0.15, "lw": 0, "zorder": 1}
                ends = np.array([mean - deviation, mean + deviation])
                ends = ends.clip(*bounds_of(self.score_name.replace(" ", "_")))
                self.bands_[name] = ax.fill_between(x, *ends, **look)
        ax.set_xscale("log")
        ax.set_xticks(x, [str(size) for size in x])
        ax.minorticks_off()
        of = f" of each of {self.n_classes} classes" if self.n_classes else " per class"
        ax.set_xlabel(f"labelled images{of}", fontsize=BODY)
        band = ", ± 1 standard deviation" if spread else ""
        ax.set_ylabel(f"{self.score_name}{band}", fontsize=BODY)
        legend = ax.legend(fontsize=SMALL, loc="lower right")
        legend.get_frame().set(alpha=0.8, linewidth=0)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return self


def draw_labels(train: np.ndarray, codes, sizes, rng) -> list[np.ndarray]:
    """Return rows with n of each class for each n; a larger set holds the smaller."""
    order = rng.permutation(np.asarray(train))
    turn = turns_of(codes[order])
    return [np.sort(order[turn < size]) for size in sizes]


def _sizes(n_labels, smallest: int) -> list[int]:
    """Return the sizes to draw, or say which of them are impossible."""
    if isinstance(n_labels, str) and n_labels == "auto":
        return [size for size in _SIZES if size <= smallest]
    sizes = sorted({int(size) for size in n_labels})
    if not sizes or sizes[0] < 1:
        raise ValueError(f"n_labels={n_labels!r} must hold numbers from 1 on.")
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
        return dict(estimator)
    named: dict = {}
    for one in estimator if isinstance(estimator, list | tuple) else [estimator]:
        name = _short_name(one)
        n_before = sum(_short_name(other) == name for other in named.values())
        named[f"{name} ({n_before + 1})" if n_before else name] = one
    if not named:
        raise ValueError("There is no estimator to fit.")
    return named


def _short_name(estimator) -> str:
    """Return the steps of a pipeline in words."""
    steps = getattr(estimator, "steps", None)
    if steps is None:
        return type(estimator).__name__
    return " + ".join(_short_name(step) for _, step in steps if hasattr(step, "fit"))
