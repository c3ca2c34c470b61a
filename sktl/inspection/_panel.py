"""``Panel``: a rectangle of a figure that is laid out in inches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from sktl._extras import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

TITLE, BODY, SMALL = 11.0, 9.0, 8.0  # font sizes in points
LINE = 1.35 / 72  # height of a line in inches for each point of its font size
INK, MUTED, RULE = "#222222", "#5a5a5a", "#bbbbbb"
_LEAST = 2.5  # inches
_GAP, _BETWEEN = 0.16, 0.06  # inches between cells, and between pictures of one cell


class Panel:
    """A rectangle of a figure whose coordinates are inches from its lower left corner.

    matplotlib's layout engines can neither divide the axes that a user passes nor
    decide how many pictures fit there. Text has a size in points, whatever the axes, so
    both are computed in units of length.

    The panel takes the place of ``ax``. If that is None, ``width`` and ``height`` are
    the size of a new figure. Errors name ``what`` needs the panel.
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
            to_inches = ax.figure.dpi_scale_trans.inverted()
            width, height = ax.get_window_extent().transformed(to_inches).size
            if min(width, height) < _LEAST:
                raise ValueError(
                    f"{what}: ax is {width:.1f} x {height:.1f} inches, too small to be "
                    f"read. Give it at least {_LEAST} x {_LEAST} (figsize), or pass "
                    "ax=None."
                )
        self.ax, self.figure, self.width, self.height = ax, ax.figure, width, height
        self.top = height - 0.2 - TITLE * LINE
        ax.set_axis_off()
        ax.set(xlim=(0, width), ylim=(0, height))
        # Resizing the window keeps the proportions of the pictures.
        ax.set_aspect("equal", anchor="C")

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Return new axes in a part of the panel."""
        place = left, bottom, width, height
        ax = self.ax.inset_axes(place, transform=self.ax.transData)
        ax.tick_params(labelsize=SMALL, color=RULE)
        for spine in ax.spines.values():
            spine.set_color(RULE)
        return ax

    def curve_axes(self, *place: float) -> Axes:
        """Return new axes for curves in a part of the panel."""
        ax = self.axes(*place)
        ax.grid(color="#ececec", lw=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        return ax

    def title(self, text: str) -> Text:
        """Write a title; what is below it begins at ``top``."""
        text, y = fitted(text, self.width - 0.25, TITLE), self.height - 0.12
        return self.text(0.15, y, text, TITLE, weight="bold", va="top")

    def text(self, x: float, y: float, text: str, size: float = BODY, **how) -> Text:
        """Write text literally: a dollar sign in a class name is not a formula."""
        how = {"color": INK, "va": "baseline", "ha": "left", **how}
        return self.ax.text(x, y, text, fontsize=size, parse_math=False, **how)

    def picture(
        self, pixels: np.ndarray, left: float, bottom: float, side: float
    ) -> None:
        """Draw a picture at the lower left of a square, in its own proportions."""
        scale = side / max(pixels.shape[:2])
        right, top = left + pixels.shape[1] * scale, bottom + pixels.shape[0] * scale
        draw_image(self.ax, pixels, (left, right, bottom, top))

    def gallery(
        self, items: Iterable, n: int, cell: tuple, side: float, top: float
    ) -> list[list[Text]]:
        """Draw pictures above their captions, row by row, while there is room.

        Each of the ``n`` items holds the pictures of a cell, which has the size that
        :func:`cell_size` gives, and the lines of its caption with their colours.
        Returns the captions.
        """
        width, height = cell
        n_across = max(1, int((self.width - 0.3 + 1e-6) // width))
        n_down = max(1, int((top + 1e-6) // height))
        margin = (self.width - min(n_across, n) * width + _GAP) / 2
        captions: list[list[Text]] = []
        for i, (pictures, lines) in enumerate(islice(items, n_across * n_down)):
            left = margin + (i % n_across) * width
            bottom = top - (i // n_across) * height - side
            for k, pixels in enumerate(pictures):
                self.picture(pixels, left + k * (side + _BETWEEN), bottom, side)
            captions.append([])
            for k, (words, colour) in enumerate(lines):
                words = fitted(words, width - 0.1, SMALL)
                y = bottom - 0.05 - k * SMALL * LINE
                how = {"color": colour, "va": "top"}
                captions[-1].append(self.text(left, y, words, SMALL, **how))
        return captions


def cell_size(side: float, n_pictures: int, n_lines: int) -> tuple[float, float]:
    """Return width and height of a cell of a gallery."""
    width = n_pictures * (side + _BETWEEN) - _BETWEEN + _GAP
    return width, side + n_lines * SMALL * LINE + 0.14


def draw_image(
    ax: Axes, pixels: np.ndarray, extent: tuple, frame: str | None = None, zorder=2
) -> None:
    """Draw pixels at a place in axes with fixed limits."""
    from matplotlib.patches import Rectangle

    image = ax.imshow(pixels, extent=extent, aspect=ax.get_aspect(), zorder=zorder)
    image.set_interpolation("antialiased" if max(pixels.shape[:2]) > 32 else "nearest")
    left, right, bottom, top = extent
    box = Rectangle((left, bottom), right - left, top - bottom, fill=False)
    box.set(edgecolor=frame or RULE, linewidth=1.8 if frame else 0.6)
    ax.add_patch(box).set_zorder(zorder + 0.1)


@lru_cache(maxsize=4096)
def width_of(text: str, size: float) -> float:
    """Return the width of text in inches, at a font size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight="bold" if size == TITLE else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.04 * width / 72  # rasterised, it is up to a few percent wider


def widest(texts: Iterable[str], size: float) -> float:
    """Return the width of the widest of some texts, in inches."""
    return max((width_of(text, size) for text in texts), default=0.0)


def fitted(text: str, width: float, size: float) -> str:
    """Return text, with an ellipsis in its middle if it is too wide.

    Names of classes often differ at their ends as much as at their beginnings.
    """
    text = " ".join(str(text).split())
    if width_of(text, size) <= width:
        return text

    def shortened(n: int) -> str:
        tail = 2 * n // 5
        return text[: n - tail].rstrip() + "…" + text[len(text) - tail :].lstrip()

    n_too_many = bisect_right(
        range(len(text)), width, key=lambda n: width_of(shortened(n), size)
    )
    return shortened(max(0, n_too_many - 1))
