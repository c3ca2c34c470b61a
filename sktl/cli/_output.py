"""Records as a table for people, as JSON or as CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sktl.cli._failures import printable


def show_json(data) -> None:
    """Print data as JSON; what is not a number there is null."""
    typer.echo(json.dumps(as_json(data), indent=2, ensure_ascii=False, default=str))


def as_json(data):
    """Return data with the numbers of numpy as Python's, and NaN as None."""
    if isinstance(data, dict):
        return {str(key): as_json(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [as_json(value) for value in data]
    if isinstance(data, np.ndarray):
        return as_json(data.tolist())
    if isinstance(data, np.generic):
        return as_json(data.item())
    if isinstance(data, float) and not np.isfinite(data):
        return None
    return data


def show_table(records: Sequence[dict], title: str) -> None:
    """Print records as a table with a column for each key."""
    table = Table(
        title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD
    )
    for key in records[0] if records else ():
        number = all(
            isinstance(record[key], (int, float, type(None)))
            or record[key][:1] in "0123456789-+"
            for record in records
        )
        table.add_column(
            Text(key),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for record in records:
        cells = ("" if value is None else printable(value) for value in record.values())
        table.add_row(*map(Text, cells))
    Console().print(table)


def show_csv(records: Sequence[dict]) -> None:
    """Print records as CSV, as spreadsheets and pandas read it."""
    if records:
        writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def show(records: Sequence[dict], title: str, json_wanted: bool) -> None:
    """Print records as JSON, or as a table."""
    if json_wanted:
        show_json(list(records))
    else:
        show_table(records, title)


def tell(text: str) -> None:
    """Print a line for people."""
    Console(highlight=False).print(Text(printable(text)), soft_wrap=True)


def at_terminal() -> int:
    """Return 1 if progress bars have somebody to look at them."""
    return int(sys.stderr.isatty())
