"""``sktl cache``: the embeddings that are kept between runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sktl._wording import size
from sktl.cli import _options as options
from sktl.cli._terminal import show_json, show_line, show_table
from sktl.store import EmbeddingStore

cache = typer.Typer(help="Inspect, shrink or empty the cache of embeddings.")

StorePath = Annotated[
    Path | None,
    typer.Argument(help="By default SKTL_CACHE_DIR or the user's cache folder."),
]


@cache.command()
def info(path: StorePath = None, as_json: options.AsJson = False) -> None:
    """Show where the cache is and what it holds."""
    figures = EmbeddingStore(path).info()
    if as_json:
        show_json(figures)
        return
    for name in ("bytes", "max_bytes"):
        if figures.get(name) is not None:
            figures[name] = size(figures[name])
    show_table([figures], "Embedding store")


@cache.command()
def prune(
    path: StorePath = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, help="Keep at most this many bytes.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete the least recently used embeddings."""
    store = EmbeddingStore(path)
    _show_deleted(store, store.prune(max_bytes), as_json)


@cache.command()
def clear(path: StorePath = None, as_json: options.AsJson = False) -> None:
    """Delete all embeddings."""
    store = EmbeddingStore(path)
    rows = store.info()["rows"]
    store.clear()
    _show_deleted(store, rows, as_json)


def _show_deleted(store: EmbeddingStore, dropped: int, as_json: bool) -> None:
    """Say how many rows are gone and how many are left."""
    left = store.info()["rows"]
    if as_json:
        show_json({"path": store.path, "dropped": dropped, "rows": left})
    else:
        show_line(f"{dropped} rows deleted, {left} left in {store.path}.")
