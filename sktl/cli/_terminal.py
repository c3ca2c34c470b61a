"""What the command writes: tables and lines for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sktl.exceptions import SktlError

_MAX_NAMED = 5


class CommandError(SktlError):
    """The command cannot do what was asked, for a reason that the user can fix."""


def show_json(data) -> None:
    """Print data as JSON, with null for what is not a number."""
    text = json.dumps(data, default=_plain)
    data = json.loads(text, parse_constant=lambda name: None)
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _plain(value):
    """Return numbers and arrays of numpy as Python's, and anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def show_table(records: Sequence[dict], title: str) -> None:
    """Print records as a table with a column for each key."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.title, table.title_justify = Text(printable(title)), "left"
    for key in records[0] if records else ():
        values = [record[key] for record in records]
        is_number = all(str(v)[:1] in "0123456789-+<" for v in values if v is not None)
        table.add_column(key, no_wrap=is_number, overflow="fold")
        table.columns[-1].justify = "right" if is_number else "left"
    for record in records:
        cells = ("" if value is None else printable(value) for value in record.values())
        table.add_row(*map(Text, cells))
    Console().print(table)


def show_csv(records: Sequence[dict]) -> None:
    """Print records as CSV."""
    if records:
        writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def show_line(text: str) -> None:
    """Print a line for people."""
    Console(highlight=False).print(Text(printable(text)), soft_wrap=True)


def complain(message: str, style: str = "bold red", prefix: str = "sktl: ") -> None:
    """Write a line to stderr."""
    line = Text.assemble((prefix, style), printable(message))
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def printable(text: object) -> str:
    """Return text on one line, with nothing in it that a terminal would obey."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)


def unreadable(bad: list[str], n: int) -> str:
    """Return words for images that cannot be read, the first few by name."""
    named = ", ".join(map(repr, bad[:_MAX_NAMED]))
    more = f" and {len(bad) - _MAX_NAMED} more" if len(bad) > _MAX_NAMED else ""
    return f"{len(bad)} of {n} images cannot be read: {named}{more}"


def progress_wanted() -> bool:
    """Tell whether anyone is there to see a progress bar."""
    return sys.stderr.isatty()
