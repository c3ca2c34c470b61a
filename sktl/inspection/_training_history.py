"""``TrainingHistoryDisplay``: what happened while a network was trained."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from sktl.inspection._classes import look_of_curve
from sktl.inspection._fitted_steps import is_fine_tuned, steps_of
from sktl.inspection._panel import BODY, MUTED, SMALL, Panel, fitted

_WORDS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "valid_acc": "validation accuracy",
    "lr": "learning rate",
    "event_lr": "learning rate",
}
_HEIGHTS = {"loss": 2.2, "score": 1.9, "lr": 1.1}  # inches


@dataclass(eq=False, repr=False)
class TrainingHistoryDisplay:
    """Loss, scores and learning rate over the epochs of training.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_epochs,)
        One curve for each measure, under the names that skorch gives them. ``"epoch"``
        holds the numbers of the epochs; epoch 0 is before the first step.

    best_epoch : int or None, default=None
        The epoch whose weights were kept, with early stopping.

    Attributes
    ----------
    axes_ : dict of str to matplotlib Axes
        ``"loss"``, ``"score"`` and ``"lr"``, where there is something to draw.

    ax_, bounding_ax_, figure_ : matplotlib Axes and Figure
        The first of these axes, the axes that hold them, and their figure.

    lines_ : dict of str to matplotlib Line2D
        The curves by name.

    Examples
    --------
    >>> from sktl.inspection import TrainingHistoryDisplay
    >>> history = [
    ...     {"epoch": 1, "train_loss": 0.9, "valid_loss": 1.0, "valid_acc": 0.5},
    ...     {"epoch": 2, "train_loss": 0.4, "valid_loss": 0.7, "valid_acc": 0.8},
    ... ]
    >>> display = TrainingHistoryDisplay.from_history(history)
    >>> sorted(display.axes_)
    ['loss', 'score']
    """

    curves: dict[str, np.ndarray]
    _: KW_ONLY
    best_epoch: int | None = None

    @classmethod
    def from_estimator(cls, estimator, *, ax=None) -> TrainingHistoryDisplay:
        """Draw the training history of a fitted estimator.

        Parameters
        ----------
        estimator : fitted FineTunedClassifier, FineTunedRegressor or skorch net
            Alone, as the last step of a pipeline, or in a search.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display, drawn.
        """
        net = steps_of(estimator)[-1].estimator
        if not hasattr(net, "history"):
            raise ValueError(
                f"{type(net).__name__} keeps no history of its training. Pass a "
                "fine-tuned estimator or a skorch net; LabelCurveDisplay shows how "
                "any estimator learns."
            )
        if not is_fine_tuned(net) or not len(net.history):
            return cls.from_history(net.history, ax=ax)
        best_epoch = net.best_epoch_ if net.early_stopping else None
        return cls(net.epochs_, best_epoch=best_epoch).plot(ax=ax)

    @classmethod
    def from_history(
        cls, history, *, best_epoch=None, ax=None
    ) -> TrainingHistoryDisplay:
        """Draw a history.

        Parameters
        ----------
        history : skorch History, or list of dict
            One dict for each epoch.

        best_epoch : int, default=None
            The epoch whose weights were kept.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display, drawn.
        """
        rows = list(history)
        if not rows:
            raise ValueError("The history has no epochs.")
        curves = {
            name: np.array([row.get(name, np.nan) for row in rows], dtype=float)
            for name, value in rows[0].items()
            if isinstance(value, int | float | np.number)
            and not isinstance(value, bool)
        }
        curves.setdefault("epoch", np.arange(1, len(rows) + 1))
        return cls(curves, best_epoch=best_epoch).plot(ax=ax)

    def plot(self, ax=None) -> TrainingHistoryDisplay:
        """Draw losses above scores above the learning rate.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display itself.
        """
        groups = self._groups()
        total = sum(_HEIGHTS[group] + 0.28 for group in groups)
        panel = Panel("TrainingHistoryDisplay.plot", ax, 6.4, total + 0.85)
        self.bounding_ax_, self.figure_ = panel.ax, panel.figure
        n = int(np.nanmax(self.curves["epoch"]))
        title = f"Training over {n} epoch{'s' if n != 1 else ''}"
        if self.best_epoch is not None:
            title += f", epoch {self.best_epoch} kept"
        self.title_ = panel.title(title)
        top, scale = panel.top, (panel.top - 0.5) / total
        self.axes_: dict = {}
        self.lines_: dict = {}
        for group, measures in groups.items():
            height = _HEIGHTS[group] * scale
            own = panel.curve_axes(0.75, top - height, panel.width - 0.95, height)
            own.tick_params(labelbottom=False)
            self._draw(own, measures)
            words = group if len(measures) > 1 else self.lines_[measures[0]].get_label()
            own.set_ylabel(fitted(words, height, BODY), fontsize=BODY)
            self.axes_[group] = own
            top -= height + 0.28 * scale
        own.tick_params(labelbottom=True)
        own.set_xlabel("epoch", fontsize=BODY)
        self.ax_ = next(iter(self.axes_.values()))
        return self

    def _groups(self) -> dict[str, list[str]]:
        """Return which measures go together: losses, scores, the learning rate."""
        groups: dict[str, list[str]] = {"loss": [], "score": [], "lr": []}
        for name, values in self.curves.items():
            rate = name == "lr" or name.endswith("_lr")
            known = np.unique(np.asarray(values)[np.isfinite(values)])
            if name in ("epoch", "dur") or name.endswith(("_best", "_batch_count")):
                continue
            if len(known) > rate:  # a rate that never changes needs no axes
                group = "loss" if "loss" in name else "lr" if rate else "score"
                groups[group].append(name)
        return {group: measures for group, measures in groups.items() if measures}

    def _draw(self, ax, measures: list[str]) -> None:
        """Draw one group of curves."""
        epochs = np.asarray(self.curves["epoch"])
        for i, measure in enumerate(measures):
            # Training and validation have the same look in all axes.
            k = i if len(measures) > 2 else int(measure.startswith("valid"))
            values = np.asarray(self.curves[measure], dtype=float)
            known = np.isfinite(values)
            look = look_of_curve(k) | ({"marker": None} if known.sum() > 30 else {})
            look |= {"markersize": 4, "linewidth": 1.6, "linestyle": ("-", "--")[k % 2]}
            words = _WORDS.get(measure, measure.replace("_", " "))
            (line,) = ax.plot(epochs[known], values[known], label=words, **look)
            self.lines_[measure] = line
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch, color=MUTED, lw=1, ls=":", zorder=0)
        ax.grid(visible=False, axis="x")
        pad = max(0.3, 0.03 * np.ptp(epochs))
        ax.set_xlim(epochs.min() - pad, epochs.max() + pad)
        ax.xaxis.get_major_locator().set_params(integer=True)
        if len(measures) > 1:
            # Above the axes: inside, a legend would hide part of a curve.
            how = {"loc": "lower right", "bbox_to_anchor": (1, 0.98), "frameon": False}
            how |= {"borderaxespad": 0, "borderpad": 0, "fontsize": SMALL}
            ax.legend(ncols=len(measures), **how)
