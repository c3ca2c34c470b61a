"""``Comparison``: what ``compare`` found, as numbers, table, picture and model."""

from __future__ import annotations

import numpy as np

from sktl._extras import import_extra
from sktl.model_selection._intervals import Interval, corrected_interval
from sktl.model_selection._table import (
    Column,
    as_frame,
    as_html,
    as_text,
    decimals,
    significant,
)

# Read as: what it is, how good, how much worse than the best, and what it costs.
_COLUMNS: list[Column] = [
    ("name", "", None),
    ("strategy", "strategy", None),
    ("score", "score", decimals(3)),
    ("low", "low", decimals(3)),
    ("high", "high", decimals(3)),
    ("difference", "to the best", decimals(3)),
    ("p_value", "p", lambda p: "<0.001" if p < 0.001 else f"{p:.3f}"),
    ("fit_seconds", "fit s", significant),
    ("predict_ms", "predict ms", significant),
    ("embedded", "embedded", None),
    ("model_kb", "model kB", significant),
]

# Colours that differ for the colour-blind, in print and on a dark page (Okabe, Ito).
_COLORS = {"baseline": "#999999", "frozen": "#0072B2", "fine-tuned": "#D55E00"}


class Comparison:
    """What :func:`compare` found.

    Prints as a table, best first. Differences are paired: both contenders were judged
    on the same splits. Where the interval of a difference holds 0, these images do not
    tell which of the two is better.

    Attributes
    ----------
    table : list of dict
        One row for each contender, the best first: ``name``; ``strategy``
        (``"baseline"``, ``"frozen"`` or ``"fine-tuned"``); ``backbone``, ``head`` and
        ``unfreeze`` where they apply; ``score`` with the ends ``low`` and ``high`` of
        its confidence interval; ``difference`` to the best, ``difference_low``,
        ``difference_high`` and ``p_value``; ``fit_seconds`` of one fit, the choice of
        parameters included and the embedding not; ``embed_seconds`` for all images, 0
        where they were in the cache; ``predict_ms`` for one new image, from pixels to
        label; ``embedded``, the images that went through a network; ``model_kb``, the
        size of the pickled model; ``params``, those chosen most often.

    scores_ : dict of ndarray
        By name, the scores on each split.

    predictions_ : dict of ndarray
        By name, a prediction for each image by a model that was not fitted to it,
        those of the first repetition. Use them for a confusion matrix.

    probabilities_ : dict of ndarray of shape (n_samples, n_classes)
        By name, the probabilities in the order of ``classes_``, where a contender
        gives any.

    tested_ : ndarray of bool
        Which images have such predictions: all, unless ``cv`` leaves some out.

    y_, classes_ : ndarray
        The targets, and the classes (None for numbers).

    splits_ : list of (train, test)
        The rows of each split.

    duplicate_groups_ : ndarray of int or None
        Copies among the images, see :func:`duplicate_groups`; None with
        ``duplicates="ignore"``.

    best_name_ : str
        The contender with the highest mean score.

    best_params_ : dict
        The parameters chosen for it on all images.

    best_estimator_ : estimator
        It, fitted to all images; only with ``refit=True``.

    estimators_ : dict of estimator
        By name, each contender with the parameters chosen most often, not fitted.

    warnings_ : list of str
        What was warned of, by whom and how often.

    scoring, task : str
        The score, and ``"classification"`` or ``"regression"``.

    confidence : float
        Of the intervals.

    seconds_ : float
        Time that the whole comparison took.

    See Also
    --------
    compare : Makes a comparison; with an example.

    Notes
    -----
    Intervals and p-values come from the corrected resampled t test of Nadeau and
    Bengio, since training sets of different splits overlap. They are for one pair;
    that the best is best by luck among many they do not know. Scores of models with
    choices inside (``C`` and the like) are those of a nested cross-validation.
    """

    def __init__(self, **found):
        self.__dict__.update(found)

    def difference(self, first: str, second: str) -> Interval:
        """Return how much better the first contender is than the second.

        Parameters
        ----------
        first, second : str
            Names, as in the table.

        Returns
        -------
        difference : Interval
            With ``mean``, ``low``, ``high`` and ``p_value``.
        """
        for name in (first, second):
            if name not in self.scores_:
                raise ValueError(
                    f"{name!r} was not compared. Names are "
                    f"{', '.join(map(repr, self.scores_))}."
                )
        return corrected_interval(
            self.scores_[first] - self.scores_[second], *self._sizes, self.confidence
        )

    def to_frame(self):
        """Return the table as a pandas data frame."""
        return as_frame(self.table, "Comparison.to_frame")

    def plot(self, ax=None):
        """Draw the scores with their intervals, the best on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ax : matplotlib Axes
            With one point and one bar for each contender.
        """
        pyplot = import_extra("matplotlib.pyplot", "viz", "Comparison.plot")
        if ax is None:
            height = 1.2 + 0.35 * len(self.table)
            _, ax = pyplot.subplots(figsize=(8, height), layout="constrained")
        for strategy, color in _COLORS.items():
            rows = [
                (i, row)
                for i, row in enumerate(self.table)
                if row["strategy"] == strategy
            ]
            if not rows:
                continue
            score = np.array([row["score"] for _, row in rows])
            ends = np.array([[row["low"], row["high"]] for _, row in rows]).T
            ax.errorbar(
                score,
                [i for i, _ in rows],
                xerr=np.nan_to_num(np.abs(ends - score)),
                fmt="o",
                color=color,
                capsize=3,
                label=strategy,
            )
        ax.set_yticks(range(len(self.table)), [row["name"] for row in self.table])
        ax.invert_yaxis()
        ax.set_xlabel(f"{self.scoring} ({self.confidence:.0%} interval)")
        ax.grid(axis="x", alpha=0.3)
        ax.legend(frameon=False)
        return ax

    def summary(self) -> str:
        """Return in words which contender is best, and which may be as good."""
        best = self.table[0]
        text = f"Best: {best['name']} ({self.scoring} {best['score']:.3f})."
        rivals = [
            row["name"]
            for row in self.table[1:]
            if row["strategy"] != "baseline" and not row["p_value"] < self._level
        ]
        if rivals:
            text += f" These images do not tell it from {', '.join(rivals)}."
        baselines = [row for row in self.table if row["strategy"] == "baseline"]
        if baselines and best["strategy"] == "baseline":
            text += " No pretrained network beats this baseline."
        elif baselines:
            strongest = baselines[0]
            doubt = "" if strongest["p_value"] < self._level else ", within chance"
            text += (
                f" The best baseline, {strongest['name']}, is at "
                f"{strongest['score']:.3f}{doubt}."
            )
        return text

    @property
    def _level(self) -> float:
        """The p-value below which a difference counts."""
        return 1 - self.confidence

    def _caption(self) -> str:
        n_images, n_splits = len(self.y_), len(self.splits_)
        return (
            f"{n_images} images, {n_splits} splits: {self.scoring} with "
            f"{self.confidence:.0%} intervals"
        )

    def __repr__(self) -> str:
        parts = [self._caption(), as_text(self.table, _COLUMNS), self.summary()]
        parts += [f"Warning: {message}" for message in self.warnings_]
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        return as_html(self.table, _COLUMNS, f"{self._caption()}. {self.summary()}")
