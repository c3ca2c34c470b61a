"""``TrainingHistoryDisplay``: what happened while a network was trained."""

from __future__ import annotations

import numpy as np

from sktl.inspection._classes import COLOURS, mark_of
from sktl.inspection._estimators import is_fine_tuned, steps_of
from sktl.inspection._panel import BODY, MUTED, RULE, SMALL, Panel
from sktl.inspection._text import fitted

_WORDS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "valid_acc": "validation accuracy",
    "lr": "learning rate",
    "event_lr": "learning rate",
}


class TrainingHistoryDisplay:
    """Loss, scores and learning rate over the epochs of a training.

    Make it with :meth:`from_estimator` or :meth:`from_history`.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_epochs,)
        One curve for each measure, under the names that skorch gives them. ``"epoch"``
        holds the numbers of the epochs; epoch 0 is before the first step.

    best_epoch : int or None, default=None
        The epoch whose weights were kept.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The losses.

    axes_ : dict of str to matplotlib Axes
        All axes: ``"loss"``, and where there is something to draw ``"score"`` and
        ``"lr"``.

    bounding_ax_ : matplotlib Axes
        The axes that hold them.

    figure_ : matplotlib Figure
        The figure.

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

    def __init__(self, curves, *, best_epoch=None):
        self.curves = curves
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Show how a fitted estimator was trained.

        Parameters
        ----------
        estimator : fitted FineTunedClassifier, FineTunedRegressor or skorch net
            By itself, as the last step of a pipeline, or in a search.

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
                f"{type(net).__name__} keeps no history of its training: it is no "
                "fine-tuned estimator. LabelCurveDisplay shows how any estimator "
                "learns."
            )
        if not is_fine_tuned(net):
            return cls.from_history(net.history, ax=ax)
        if not len(net.history):
            raise ValueError(f"{type(net).__name__} was trained for no epoch.")
        curves = net.epochs_
        rates = curves.get("event_lr", np.zeros(1))[1:]
        if not np.ptp(rates):
            # A rate that never changes needs no axes of its own.
            curves.pop("event_lr", None)
        best = net.best_epoch_ if net.early_stopping else None
        return cls(curves, best_epoch=best).plot(ax=ax)

    @classmethod
    def from_history(cls, history, *, best_epoch=None, ax=None):
        """Show a history.

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
            raise ValueError("The history holds no epoch.")
        names = [
            name for name in rows[0] if name != "batches" and _is_number(rows[0][name])
        ]
        curves = {
            name: np.array([row.get(name, np.nan) for row in rows], dtype=float)
            for name in names
        }
        curves.setdefault("epoch", np.arange(1, len(rows) + 1))
        return cls(curves, best_epoch=best_epoch).plot(ax=ax)

    def plot(self, ax=None):
        """Draw the curves, losses above scores above the learning rate.

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
        heights = {"loss": 2.2, "score": 1.9, "lr": 1.1}
        total = sum(heights[name] + 0.28 for name in groups)
        panel = Panel("TrainingHistoryDisplay.plot", ax, 6.4, total + 0.85)
        self.bounding_ax_, self.figure_ = panel.ax, panel.figure
        n = int(np.nanmax(self.curves["epoch"]))
        title = f"Training over {n} epoch{'s' if n != 1 else ''}"
        if self.best_epoch is not None:
            title += f", epoch {self.best_epoch} kept"
        self.title_, top = panel.title(title)
        left, width = 0.75, panel.width - 0.95
        scale = (top - 0.5) / total
        self.axes_, self.lines_ = {}, {}
        for name, measures in groups.items():
            height = heights[name] * scale
            own = panel.axes(left, top - height, width, height)
            self._draw(own, name, measures, height)
            last = name == list(groups)[-1]
            own.tick_params(labelsize=SMALL, color=RULE, labelbottom=last)
            self.axes_[name] = own
            top -= height + 0.28 * scale
        own.set_xlabel("epoch", fontsize=BODY)
        self.ax_ = next(iter(self.axes_.values()))
        return self

    def _groups(self) -> dict[str, list[str]]:
        """Return which measures go together: losses, scores, the learning rate."""
        groups: dict[str, list[str]] = {"loss": [], "score": [], "lr": []}
        for name, values in self.curves.items():
            if name in ("epoch", "dur") or name.endswith(("_best", "_batch_count")):
                continue
            if not np.isfinite(values).any():
                continue
            if "loss" in name:
                groups["loss"].append(name)
            elif name == "lr" or name.endswith("_lr"):
                groups["lr"].append(name)
            else:
                groups["score"].append(name)
        return {name: measures for name, measures in groups.items() if measures}

    def _draw(self, ax, group: str, measures: list[str], height: float) -> None:
        """Draw one group of curves."""
        epochs = np.asarray(self.curves["epoch"])
        for measure in measures:
            # Training and validation look alike in all axes.
            k = 1 if measure.startswith("valid") else 0
            k = k if len(measures) <= 2 else measures.index(measure)
            values = np.asarray(self.curves[measure], dtype=float)
            known = np.isfinite(values)
            (self.lines_[measure],) = ax.plot(
                epochs[known],
                values[known],
                color=COLOURS[(0, 6, 2, 3, 4, 5, 1, 7)[k % 8]],
                marker=mark_of(8 * k) if known.sum() <= 30 else None,
                markersize=4,
                linewidth=1.6,
                linestyle=("-", "--")[k % 2],
                label=_WORDS.get(measure, measure.replace("_", " ")),
            )
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch, color=MUTED, lw=1, ls=":", zorder=0)
        ax.grid(axis="y", color="#ececec", lw=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(RULE)
        pad = max(0.3, 0.03 * np.ptp(epochs))
        ax.set_xlim(epochs.min() - pad, epochs.max() + pad)
        ax.xaxis.get_major_locator().set_params(integer=True)
        alone = len(measures) == 1
        words = self.lines_[measures[0]].get_label() if alone else group
        ax.set_ylabel(fitted(words, height, BODY), fontsize=BODY)
        if not alone:
            # Above the axes: inside, a legend would hide some curve or other.
            ax.legend(
                fontsize=SMALL,
                frameon=False,
                ncols=len(measures),
                loc="lower right",
                bbox_to_anchor=(1, 0.98),
                borderaxespad=0,
                borderpad=0,
            )


def _is_number(value) -> bool:
    """Tell whether a measure can be drawn."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
