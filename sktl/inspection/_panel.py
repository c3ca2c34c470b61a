"""``Panel``: a rectangle of a figure that is laid out in inches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sktl._extras import import_extra
from sktl.inspection._text import fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

TITLE, BODY, SMALL = 11.0, 9.0, 8.0  # font sizes in points
LINE = 1.35 / 72  # height of a line in inches for each point of its font size
_LEAST = 2.5  # inches
INK, MUTED, RULE = "#222222", "#5a5a5a", "#bbbbbb"


class Panel:
    """A rectangle of a figure whose coordinates are inches from its lower left corner.

    Text has a size in points whatever the axes, so a layout in which nothing overlaps
    has to be computed in units of length.

    Parameters
    ----------
    what : str
        Who draws, for the message when matplotlib is not installed.
    ax : matplotlib Axes or None
        The axes whose place the panel takes; None makes a figure of its own.
    width, height : float
        Size of that figure in inches.
    """

    def __init__(self, what: str, ax: Axes | None, width: float, height: float):
        pyplot = import_extra("matplotlib.pyplot", "viz", what)
        if ax is None:
            figure = pyplot.figure(figsize=(width, height), layout="none")
            ax = figure.add_axes((0, 0, 1, 1))
        else:
            root = ax.figure.figure  # the whole figure, if ax lies in a part of one
            if root.get_layout_engine() is not None:
                root.draw_without_rendering()  # lets the engine place the axes
            box = ax.get_window_extent().transformed(
                ax.figure.dpi_scale_trans.inverted()
            )
            width, height = box.width, box.height
            if min(width, height) < _LEAST:
                raise ValueError(
                    f"{what}: ax is {width:.1f} x {height:.1f} inches, too small to be "
                    f"read. Give it at least {_LEAST} x {_LEAST} (figsize), or pass "
                    "ax=None."
                )
        self.ax, self.figure, self.width, self.height = ax, ax.figure, width, height
        ax.set_axis_off()
        ax.set(xlim=(0, width), ylim=(0, height))
        # A window that is resized keeps the proportions of the pictures.
        ax.set_aspect("equal", anchor="C")

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Return new axes in a part of the panel."""
        return self.ax.inset_axes(
            (
                left / self.width,
                bottom / self.height,
                width / self.width,
                height / self.height,
            )
        )

    def title(self, text: str, left: float = 0.15) -> tuple[Text, float]:
        """Write a title at the top; return it and the height left below it."""
        text = fitted(text, self.width - left - 0.1, TITLE)
        top = self.height - 0.12
        drawn = self.text(left, top, text, size=TITLE, weight="bold", va="top")
        return drawn, top - TITLE * LINE - 0.08

    def text(self, x: float, y: float, text: str, size: float = BODY, **how) -> Text:
        """Write text as it stands: a dollar sign in a class name is no formula."""
        how = {"color": INK, "va": "baseline", "ha": "left", **how}
        return self.ax.text(x, y, text, fontsize=size, parse_math=False, **how)

    def cells(
        self, n: int, width: float, height: float, top: float
    ) -> list[tuple[float, float]]:
        """Return the lower left corners of up to ``n`` equal cells, row by row."""
        n_across = max(1, int((self.width - 0.3 + 1e-6) // width))
        n_down = max(1, int((top + 1e-6) // height))
        margin = (self.width - min(n_across, n) * width) / 2 if n else 0.0
        return [
            (margin + (i % n_across) * width, top - (i // n_across + 1) * height)
            for i in range(min(n, n_across * n_down))
        ]

    def picture(
        self,
        pixels: np.ndarray,
        left: float,
        bottom: float,
        side: float,
        frame: str | None = None,
    ) -> None:
        """Draw a picture at the lower left of a square, in its own proportions."""
        scale = side / max(pixels.shape[:2])
        right, top = left + pixels.shape[1] * scale, bottom + pixels.shape[0] * scale
        draw_picture(self.ax, pixels, (left, right, bottom, top), frame)


def draw_picture(
    ax: Axes, pixels: np.ndarray, extent: tuple, frame: str | None = None, zorder=2
) -> None:
    """Draw pixels at a place of axes whose limits stay as they are."""
    limits = ax.get_xlim(), ax.get_ylim()
    ax.imshow(
        pixels,
        extent=extent,
        aspect=ax.get_aspect(),
        interpolation="antialiased" if max(pixels.shape[:2]) > 32 else "nearest",
        zorder=zorder,
    )
    ax.set(xlim=limits[0], ylim=limits[1])
    from matplotlib.patches import Rectangle

    left, right, bottom, top = extent
    ax.add_patch(
        Rectangle(
            (left, bottom),
            right - left,
            top - bottom,
            fill=False,
            edgecolor=frame or RULE,
            linewidth=1.8 if frame else 0.6,
            zorder=zorder + 0.1,
        )
    )
