"""The commands and their options; each does its work in a module of its own."""

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sktl.backbones import get_backbone, list_backbones
from sktl.engine import EmbeddingStore
from sktl.exceptions import SktlError

app = typer.Typer(
    name="sktl",
    help="Transfer learning for images that feels like scikit-learn.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cache = typer.Typer(help="Look after a folder of stored embeddings.")
app.add_typer(cache, name="cache", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StorePath = Annotated[
    Path | None,
    typer.Argument(
        help="The folder; SKTL_CACHE_DIR, or the user's cache folder, by default."
    ),
]


def main() -> None:
    """Run the command; what a user can mend is one line, not a traceback."""
    try:
        app()
    except (SktlError, OSError) as error:
        Console(stderr=True).print(f"[bold red]sktl:[/] {error}", highlight=False)
        raise SystemExit(1) from None


def _show(records: list[dict], title: str, as_json: bool) -> None:
    """Print records as JSON or as a table with a column for each key."""
    if as_json:
        typer.echo(json.dumps(records, indent=2, default=str))
        return
    table = Table(title=title, title_justify="left")
    for key, value in records[0].items():
        justify = "right" if isinstance(value, int | float) else "left"
        table.add_column(key, justify=justify, no_wrap=True)
    for record in records:
        table.add_row(
            *("" if value is None else str(value) for value in record.values())
        )
    Console().print(table)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    if version:
        typer.echo(f"sktl {importlib.metadata.version('sktl')}")
        raise typer.Exit


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Classify handwritten digits offline, against the same heads on raw pixels."""
    from sktl.cli._demo import run_demo

    console = Console(stderr=True)
    with console.status("embedding and cross-validating ..."):
        result = run_demo()
    _show(result["table"], result["title"], as_json)
    if not as_json:
        typer.echo(result["words"])


@app.command()
def backbones(
    family: Annotated[
        str | None, typer.Option(help="Only this family, such as resnet.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Only from here: bundled, own, torchvision or timm."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the networks, with size, year and published accuracy."""
    try:
        names = list_backbones(family=family, source=source)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    records = []
    for name in names:
        info = get_backbone(name)
        record = {
            "name": name,
            "family": info.family,
            "year": info.year,
            "pixels": info.recipe.size[0],
            "features": info.n_features,
            "params/M": round(info.n_parameters / 1e6, 2),
            "top-1/%": info.top1,
        }
        if as_json:
            record |= {"source": info.source, "stages": info.stages}
        records.append(record)
    _show(records, f"{len(records)} backbones", as_json)


@cache.command("info")
def cache_info(path: StorePath = None, as_json: AsJson = False) -> None:
    """Say what a store holds."""
    _show([EmbeddingStore(path).info()], "Embedding store", as_json)


@cache.command("prune")
def cache_prune(
    path: StorePath = None,
    max_bytes: Annotated[
        int | None, typer.Option(help="Keep at most this many bytes.")
    ] = None,
) -> None:
    """Drop the rows that were not used for longest."""
    EmbeddingStore(path, max_bytes=max_bytes).prune()


@cache.command("clear")
def cache_clear(path: StorePath = None) -> None:
    """Drop every row."""
    EmbeddingStore(path).clear()
