"""``ResultTable``: rows of results as text, as HTML and as a data frame."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, ClassVar

from sktl._extras import import_extra

# Key in the rows, heading, and how to write a value.
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
        return [
            [heading for _, heading, _ in self._columns],
            *(
                [
                    "" if row[key] is None or row[key] != row[key] else write(row[key])
                    for key, _, write in self._columns
                ]
                for row in self.table
            ),
        ]


def three_decimals(value: float) -> str:
    """Return a score as it stands in tables."""
    return f"{value:.3f}"
