"""A table of results as text, as HTML and as a data frame."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

from sktl._extras import import_extra

# Key in the rows, heading, and how a value is written; None writes it as it is.
Column = tuple[str, str, Callable[[object], str] | None]

# Fits notebooks of light and dark colours: it sets no colours of its own.
_STYLE = "text-align: {}; padding: 0.2em 0.7em"


def written(rows: Sequence[Mapping], columns: Sequence[Column]) -> list[list[str]]:
    """Return the cells of a table as text; what is missing is an empty cell."""
    return [[_cell(row.get(key), write) for key, _, write in columns] for row in rows]


def as_text(rows: Sequence[Mapping], columns: Sequence[Column]) -> str:
    """Return a table for the terminal: words to the left, numbers to the right."""
    cells = written(rows, columns)
    headings = [heading for _, heading, _ in columns]
    left = [_is_words(rows, key) for key, _, _ in columns]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = []
    for line in [headings, ["-" * width for width in widths], *cells]:
        padded = [
            text.ljust(width) if to_left else text.rjust(width)
            for text, width, to_left in zip(line, widths, left, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def as_html(
    rows: Sequence[Mapping], columns: Sequence[Column], caption: str, best: int = 0
) -> str:
    """Return a table for notebooks, with the best row in bold."""
    left = [_is_words(rows, key) for key, _, _ in columns]
    styles = [_STYLE.format("left" if to_left else "right") for to_left in left]
    head = "".join(
        f'<th scope="col" style="{style}">{html.escape(heading)}</th>'
        for style, (_, heading, _) in zip(styles, columns, strict=True)
    )
    body = []
    for i, line in enumerate(written(rows, columns)):
        weight = "; font-weight: bold" if i == best else ""
        body.append(
            "<tr>"
            + "".join(
                f'<td style="{style}{weight}">{html.escape(text)}</td>'
                for style, text in zip(styles, line, strict=True)
            )
            + "</tr>"
        )
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def as_frame(rows: Sequence[Mapping], what: str):
    """Return a table as a pandas data frame."""
    pandas = import_extra("pandas", "viz", what)
    return pandas.DataFrame(list(rows))


def decimals(n: int) -> Callable[[float], str]:
    """Return how to write a number with ``n`` decimals."""
    return lambda value: f"{value:.{n}f}"


def significant(value: float) -> str:
    """Return a cost with about two digits that matter: 0.42, 4.2, 42, 4,200."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:.2g}" if value < 1 else f"{value:,.{value < 10:d}f}"


def _cell(value, write: Callable[[object], str] | None) -> str:
    if value is None or value != value:
        return ""
    return str(value) if write is None else write(value)


def _is_words(rows: Sequence[Mapping], key: str) -> bool:
    """Tell whether the values of a column are words."""
    return any(isinstance(row.get(key), str) for row in rows)
