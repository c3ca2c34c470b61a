"""Numbers as people read them: costs, sizes and differences of scores."""

from __future__ import annotations


def cost(value: float) -> str:
    """Return seconds or milliseconds with at least two digits: 0.42, 4.2, 4,200."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:.2g}" if value < 1 else f"{value:,.{value < 10:d}f}"


def size(n_bytes: float) -> str:
    """Return a number of bytes in kB, MB or GB."""
    if n_bytes < 1e6:
        return f"{n_bytes / 1e3:.1f} kB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"


def points(difference: float, *, signed: bool = False) -> str:
    """Return a difference of scores in percentage points."""
    text = f"{100 * difference:+.1f}" if signed else f"{100 * difference:.1f}"
    return f"{text} points"
