"""How wide words are, and how to make them fit a place."""

from __future__ import annotations

from functools import lru_cache

# Rasterised text is up to a few percent wider than its outlines.
_MARGIN = 1.04


@lru_cache(maxsize=4096)
def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of text in inches, at a font size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return _MARGIN * width / 72


def fitted(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Return text, with an ellipsis in its middle if it is too wide for a place.

    Names of classes often differ at their ends as much as at their beginnings.
    """
    text = " ".join(str(text).split())
    if width_of(text, size, weight) <= width:
        return text
    few, many = 0, len(text) - 1  # characters that fit, characters that do not
    while many - few > 1:
        middle = (few + many) // 2
        if width_of(_shortened(text, middle), size, weight) <= width:
            few = middle
        else:
            many = middle
    return _shortened(text, few)


def widest(texts: list[str], size: float) -> float:
    """Return the width of the widest of some texts, in inches."""
    return max((width_of(text, size) for text in texts), default=0.0)


def _shortened(text: str, n: int) -> str:
    """Return ``n`` characters of text, from its beginning and its end."""
    tail = 2 * n // 5
    return text[: n - tail].rstrip() + "…" + text[len(text) - tail :].lstrip()
