"""Figures that are drawn without a screen and closed after each test."""

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    """Close what a test has drawn."""
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def crowded_texts():
    """Return a function that lists overlapping texts of a figure."""

    def crowded(figure, slack=1.0):
        from matplotlib.axis import Axis
        from matplotlib.text import Text

        figure.canvas.draw()
        beyond = [
            label
            for axis in figure.findobj(Axis)
            for tick in axis.get_major_ticks()
            for label in (tick.label1, tick.label2)
            if not min(axis.get_view_interval())
            <= tick.get_loc()
            <= max(axis.get_view_interval())
        ]
        boxes = [
            (text.get_text(), text.get_window_extent())
            for text in figure.findobj(Text)
            if text.get_text().strip() and text.get_visible() and text not in beyond
        ]
        outer = figure.bbox.padded(2)
        found = [
            (name, "the edge")
            for name, box in boxes
            if not (outer.x0 <= box.x0 and box.x1 <= outer.x1)
            or not (outer.y0 <= box.y0 and box.y1 <= outer.y1)
        ]
        for i, (name, box) in enumerate(boxes):
            box = box.padded(-slack)
            found += [
                (name, other)
                for other, another in boxes[i + 1 :]
                if box.overlaps(another.padded(-slack))
            ]
        return found

    return crowded
