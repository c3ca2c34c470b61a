"""``Comparison``: what ``compare`` found, as a table, numbers, a plot and advice."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sktl._extras import import_extra
from sktl._wording import cost, points
from sktl.model_selection._cross_validation import Split
from sktl.model_selection._duplicates import DuplicatePair
from sktl.model_selection._intervals import (
    Interval,
    difference_interval,
    score_interval,
)
from sktl.model_selection._more_labels import LabelCurve
from sktl.model_selection._scores import is_at_most_one

# Distinct to the colour-blind, in print and on a dark page (Okabe and Ito).
_COLORS = {"baseline": "#999999", "frozen": "#0072B2", "fine-tuned": "#D55E00"}
_MOST_NAMED = 5
# Key in the rows of a table, heading, and how to write a value.
Column = tuple[str, str, Callable[[Any], str]]


class ResultTable:
    """Results that print as a table, the best first.

    A subclass says which columns to show (``_columns``) and what the table is about
    (``_caption``).
    """

    table: list[dict]
    _columns: ClassVar[list[Column]]

    def to_frame(self):
        """Return the table as a pandas data frame."""
        what = f"{type(self).__name__}.to_frame"
        return import_extra("pandas", "viz", what).DataFrame(self.table)

    def _caption(self) -> str:
        """Return one line about the table."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = self._lines()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, ["-" * width for width in widths])
        text = ""
        for name, *values in lines:
            aligned = map(str.rjust, values, widths[1:])
            text += "  ".join([name.ljust(widths[0]), *aligned]) + "\n"
        return f"{self._caption()}\n\n{text}"

    def _repr_html_(self) -> str:
        body = ""
        for name, *values in self._lines():
            cells = "".join(f"<td>{html.escape(value)}</td>" for value in values)
            body += (
                f'<tr><th scope="row" style="text-align: left">{html.escape(name)}</th>'
                f"{cells}</tr>"
            )
        caption = html.escape(self._caption())
        return f"<table><caption>{caption}</caption>{body}</table>"

    def _lines(self) -> list[list[str]]:
        """Return headings and rows as text; missing values are empty."""
        lines = [[heading for _, heading, _ in self._columns]]
        for row in self.table:
            cells = [(row[key], write) for key, _, write in self._columns]
            lines.append(
                ["" if v is None or v != v else write(v) for v, write in cells]
            )
        return lines


@dataclass(kw_only=True, repr=False, eq=False)
class Comparison(ResultTable):
    """What :func:`compare` found, as a table with advice, the best candidate first.

    Differences are paired: all candidates were scored on the same splits. If the
    interval of a difference contains 0, the difference could be chance.

    Attributes
    ----------
    table : list of dict
        One row for each candidate, the best first:

        - ``name``; ``strategy`` (``"baseline"``, ``"frozen"`` or ``"fine-tuned"``);
          ``backbone``, ``head``, ``unfreeze`` and ``baseline`` (``"simplest"``,
          ``"pixels"``, ...) where they apply, else None;
        - ``score`` with the ends ``low`` and ``high`` of its confidence interval;
        - ``difference`` to the best with ``difference_low``, ``difference_high`` and
          ``p_value``;
        - ``fit_seconds`` of one fit with its choice of parameters, but without
          embedding; ``embed_seconds`` for all images; ``predict_ms`` for one new image,
          from pixels to label;
        - ``n_features`` of frozen features; ``embedded``, the images that went through
          a network; ``model_kb``, the size of the pickled model; ``params``, those
          chosen most often.

    scores_ : dict of ndarray
        The scores on each split, by name.
    predictions_, probabilities_ : dict of ndarray
        By name, a prediction for each image by a model that was not fitted to it (in
        the first repetition), and the probabilities of ``classes_``, if available.
    tested_ : ndarray of bool
        The images with such predictions: all, unless ``cv`` leaves some out.
    y_, classes_ : ndarray
        The targets, and the classes (None for numbers).
    splits_ : list of (train, test)
        The rows of each split.
    duplicate_pairs_, duplicate_groups_ : list of tuple, ndarray of int or None
        Copies among the images, as from :func:`duplicate_pairs` and
        :func:`duplicate_groups`; empty and None with ``duplicates="ignore"``.
    best_name_ : str
        The candidate with the highest mean score.
    best_estimator_, best_params_ : estimator and dict
        That candidate fitted to all images, and the parameters chosen for it; only
        with ``refit=True``.
    estimators_ : dict of estimator
        By name, each candidate with the parameters chosen most often, not fitted.
    warnings_ : list of str
        Warnings about copies, and those raised by fits, with candidate and count.
    scoring, task : str
        The score, and ``"classification"`` or ``"regression"``.
    label_curve_ : object or None
        The scores of the best head on frozen features by the number of labels:
        ``name``, ``sizes``, ``scores`` and ``gain``, the interval of what the last
        doubling brought; ``str`` says it in words. None if there are too few labels.
    grouped_ : bool
        Whether images were kept together in groups.
    confidence, seconds_ : float
        The confidence of all intervals, and the time for the whole comparison.

    Notes
    -----
    Intervals allow for training sets that overlap. An accuracy counts images: its
    interval is Wilson's, and that of a difference comes from the images that only one
    of the two gets right, with two thirds of the images tested. Other scores, and
    images in groups, have the corrected resampled t test of Nadeau and Bengio, but no
    narrower intervals than that. The guide says how often they hold the truth. They
    are for one pair and do not account for luck in picking the best of many. Where
    parameters such as ``C`` are chosen, scores are those of a nested cross-validation.
    """

    table: list[dict] = field(default_factory=list)
    scores_: dict[str, np.ndarray] = field(default_factory=dict)
    predictions_: dict[str, np.ndarray] = field(default_factory=dict)
    probabilities_: dict[str, np.ndarray] = field(default_factory=dict)
    tested_: np.ndarray
    y_: np.ndarray
    classes_: np.ndarray | None
    splits_: list[Split]
    duplicate_pairs_: list[DuplicatePair] = field(default_factory=list)
    duplicate_groups_: np.ndarray | None
    best_name_: str
    best_estimator_: Any = field(init=False)
    best_params_: dict = field(init=False)
    estimators_: dict[str, Any] = field(default_factory=dict)
    warnings_: list[str]
    scoring: str
    task: str
    confidence: float
    grouped_: bool = False
    label_curve_: LabelCurve | None = None
    seconds_: float = 0.0

    _columns: ClassVar[list[Column]] = [
        ("name", "", str),
        ("strategy", "strategy", str),
        ("score", "score", "{:.3f}".format),
        ("low", "low", "{:.3f}".format),
        ("high", "high", "{:.3f}".format),
        ("difference", "to the best", "{:.3f}".format),
        ("p_value", "p", lambda p: "<0.001" if p < 0.001 else f"{p:.3f}"),
        ("fit_seconds", "fit s", cost),
        ("predict_ms", "predict ms", cost),
        ("embedded", "embedded", str),
        ("model_kb", "model kB", cost),
    ]

    def interval(self, name: str) -> Interval:
        """Return the score of a candidate with ``mean``, ``low`` and ``high``.

        The name is that of the table.
        """
        return score_interval(
            self._scores(name),
            self.splits_,
            self.scoring,
            self.confidence,
            grouped=self.grouped_,
        )

    def difference(self, first: str, second: str) -> Interval:
        """Return how much better the first candidate is than the second.

        Names are those of the table. Returns ``mean``, ``low``, ``high``, ``p_value``.
        """
        differences = self._scores(first) - self._scores(second)
        if first == second:
            return Interval(0.0, 0.0, 0.0, 1.0)
        is_right, other_is_right = (
            (self.predictions_[name] == self.y_)[self.tested_]
            for name in (first, second)
        )
        return difference_interval(
            differences,
            self.splits_,
            self.scoring,
            self.confidence,
            grouped=self.grouped_,
            apart=float(np.mean(is_right != other_is_right)),
        )

    def _scores(self, name: str) -> np.ndarray:
        """Return the scores of a candidate on each split."""
        if name not in self.scores_:
            raise ValueError(
                f"{name!r} was not compared. Names are "
                f"{', '.join(map(repr, self.scores_))}."
            )
        return self.scores_[name]

    def plot(self, ax=None) -> Any:
        """Draw the scores with their intervals, the best on top, and return the axes.

        ``ax`` are matplotlib axes to draw on; None makes a figure.
        """
        pyplot = import_extra("matplotlib.pyplot", "viz", "Comparison.plot")
        if ax is None:
            height = 1.2 + 0.35 * len(self.table)
            _, ax = pyplot.subplots(figsize=(8, height), layout="constrained")
        bars = {}
        for place, row in enumerate(self.table):
            ends = np.array([[row["low"]], [row["high"]]])
            bars[row["strategy"]] = ax.errorbar(
                row["score"],
                place,
                xerr=np.abs(ends - row["score"]),  # NaN draws no bar
                fmt="o",
                color=_COLORS[row["strategy"]],
                capsize=3,
            )
        ax.set_yticks(range(len(self.table)), [row["name"] for row in self.table])
        ax.invert_yaxis()
        ax.set_xlabel(f"{self.scoring} ({self.confidence:.0%} interval)")
        ax.grid(axis="x", alpha=0.3)
        ax.legend(bars.values(), bars.keys(), frameon=False)
        return ax

    def advice(self) -> list[str]:
        """Return the answer in plain sentences, the verdict first."""
        sentences = [self._verdict()]
        if not np.isfinite(self.table[0]["score"]):
            return [*sentences, f"{self.scoring} has no value on some splits."]
        others = [row["p_value"] for row in self.table[1:]]
        if others and not np.isfinite(others).any():
            doubt = (
                "There is no confidence interval, so the differences could be chance."
            )
            curve = [] if self.label_curve_ is None else [str(self.label_curve_)]
            return [*sentences, doubt, *curve]
        baselines, frozen, tuned = (
            [row for row in self.table if row["strategy"] == name] for name in _COLORS
        )
        networks = [row for row in self.table if row["strategy"] != "baseline"]
        sentences += self._rivals()
        if baselines and networks:
            sentences.append(self._against_baseline(networks[0], baselines[0]))
        if frozen and tuned and self.table[0] is networks[0]:
            sentences.append(self._strategy(frozen[0], tuned[0]))
        for untrained in baselines:
            if untrained["baseline"] == "untrained":
                sentences += self._near_or_far(frozen, untrained)
        if self.label_curve_ is not None:
            sentences.append(str(self.label_curve_))
        return sentences

    def summary(self) -> str:
        """Return the advice as one text."""
        return " ".join(self.advice())

    def _verdict(self) -> str:
        best = self.table[0]
        verdict = f"Best: {best['name']}, {self.scoring} {best['score']:.3f}"
        if np.isfinite(best["low"]):
            ends = f"{best['low']:.3f} to {best['high']:.3f}"
            verdict += f" ({self.confidence:.0%} interval {ends})"
        return f"{verdict}."

    def _rivals(self) -> list[str]:
        """Name the networks that may be as good as the best candidate."""
        names = [
            row["name"]
            for row in self.table[1:]
            if row["strategy"] != "baseline" and not self._is_certain(row["p_value"])
        ]
        if not names:
            return []
        differences = "differences" if len(names) > 1 else "difference"
        if len(names) > _MOST_NAMED:
            names = [*names[:_MOST_NAMED], f"{len(names) - _MOST_NAMED} others"]
        named = " or ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])
        return [
            f"It is not clearly better than {named}. The {differences} could be chance."
        ]

    def _against_baseline(self, network: dict, baseline: dict) -> str:
        """Say whether a network is worth it."""
        if self.table[0] is baseline:
            return (
                "No pretrained network beats this baseline. The best of them, "
                f"{network['name']}, scores {network['score']:.3f}. Use the baseline, "
                "or check the labels and add images."
            )
        gain = self.difference(network["name"], baseline["name"])
        text = (
            f"It is {self._amount(gain.mean)} above the best baseline, "
            f"{baseline['name']} ({baseline['score']:.3f})"
        )
        if self._is_certain(gain.p_value):
            return f"{text}, more than chance would explain ({self._range(gain)})."
        return f"{text}, but the difference could be chance. Add images to find out."

    def _strategy(self, frozen: dict, tuned: dict) -> str:
        """Recommend a strategy, with reason and cost."""
        better, other, strategy = frozen, tuned, "frozen features"
        if self.table[0] is tuned:
            better, other, strategy = tuned, frozen, "fine-tuning"
        gain = self.difference(better["name"], other["name"])
        text = f"Recommended: {strategy}."
        if self._is_certain(gain.p_value):
            text += (
                f" {better['name']} is {self._amount(gain.mean)} better than "
                f"{other['name']} ({self._range(gain)})."
            )
        else:
            text += (
                f" {other['name']} scores {other['score']:.3f} and {better['name']} "
                f"scores {better['score']:.3f}, a difference that could be chance."
            )
        seconds = cost(better["fit_seconds"]), cost(other["fit_seconds"])
        return f"{text} A fit takes {seconds[0]} s instead of {seconds[1]} s."

    def _near_or_far(self, frozen: list[dict], untrained: dict) -> list[str]:
        """Say how close the images are to what the network knows."""
        backbone = untrained["backbone"]
        same = [row for row in frozen if row["backbone"] == backbone]
        if not same or not is_at_most_one(self.scoring):
            return []
        # The same head, if it was compared, so that only the weights differ.
        trained = min(same, key=lambda row: row["head"] != untrained["head"])
        gain = self.difference(trained["name"], untrained["name"])
        if gain.mean <= 0 or not self._is_certain(gain.p_value):
            return [
                f"Pretraining makes no clear difference: {backbone} scores "
                f"{untrained['score']:.3f} with random weights. The task may be easy, "
                "or the images far from what the network knows."
            ]
        share = gain.mean / max(1 - untrained["score"], 1e-9)
        how = "somewhat different from" if share >= 0.4 else "far from"
        how = "close to" if share >= 0.75 else how
        return [
            f"These images are {how} what {backbone} knows: pretraining removes "
            f"{share:.0%} of the errors it makes with random weights "
            f"({untrained['score']:.3f})."
        ]

    def _is_certain(self, p_value: float) -> bool:
        """Tell whether a difference is more than chance; False if that is unknown."""
        return p_value < 1 - self.confidence

    def _amount(self, difference: float) -> str:
        """Return a difference in points, unless the score has no upper bound."""
        return (
            points(difference) if is_at_most_one(self.scoring) else f"{difference:.3g}"
        )

    def _range(self, difference: Interval) -> str:
        """Return the interval of a difference."""
        low = self._amount(difference.low).removesuffix(" points")
        return f"{low} to {self._amount(difference.high)}"

    def _caption(self) -> str:
        splits = f"{len(self.splits_)} split{'s' * (len(self.splits_) > 1)}"
        intervals = f"{self.scoring} with {self.confidence:.0%} intervals"
        return f"{len(self.y_)} images, {splits}: {intervals}"

    def __repr__(self) -> str:
        notes = [f"Warning: {message}" for message in self.warnings_]
        return "\n".join([super().__repr__(), *self.advice(), *notes])

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}<p>{html.escape(self.summary())}</p>"
