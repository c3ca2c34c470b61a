"""``sktl cache``: what is kept between runs, and how to be rid of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sktl.cli import _options as options
from sktl.cli._output import show, show_json, tell
from sktl.engine import EmbeddingStore

cache = typer.Typer(help="Look after a folder of stored embeddings.")

StorePath = Annotated[
    Path | None,
    typer.Argument(
        help="The folder; SKTL_CACHE_DIR, or the user's cache folder, by default."
    ),
]


@cache.command()
def info(path: StorePath = None, as_json: options.AsJson = False) -> None:
    """Say what a store holds."""
    figures = EmbeddingStore(path).info()
    if as_json:
        show_json(figures)
    else:
        show([{k: str(v) for k, v in figures.items()}], "Embedding store", False)


@cache.command()
def prune(
    path: StorePath = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, help="Keep at most this many bytes.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Drop the rows that were not used for longest."""
    _tell(EmbeddingStore(path), EmbeddingStore(path).prune(max_bytes), as_json)


@cache.command()
def clear(path: StorePath = None, as_json: options.AsJson = False) -> None:
    """Drop every row."""
    store = EmbeddingStore(path)
    rows = store.info()["rows"]
    store.clear()
    _tell(store, rows, as_json)


def _tell(store: EmbeddingStore, dropped: int, as_json: bool) -> None:
    """Say how many rows are gone."""
    left = store.info()["rows"]
    if as_json:
        show_json({"path": store.path, "dropped": dropped, "rows": left})
    else:
        tell(f"{dropped} rows dropped, {left} left in {store.path}")
