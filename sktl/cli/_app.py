"""The command line: names, and which module does what they say."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from sktl.cli._backbones import backbones
from sktl.cli._cache import cache
from sktl.cli._compare import compare
from sktl.cli._demo import demo
from sktl.cli._embed import embed
from sktl.cli._failures import INTERRUPTED, Commands, say
from sktl.cli._predict import predict
from sktl.cli._report import report
from sktl.cli._train import train

app = typer.Typer(
    name="sktl",
    cls=Commands,
    help="Transfer learning for images that feels like scikit-learn.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, compare, train, predict, report, embed, backbones):
    app.command()(command)
app.add_typer(cache, name="cache", no_args_is_help=True)


def main() -> None:
    """Run the command."""
    try:
        app()
    except KeyboardInterrupt:
        say("interrupted.")
        raise SystemExit(INTERRUPTED) from None


@app.callback(invoke_without_command=True)
def version(
    wanted: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    """Transfer learning for images that feels like scikit-learn."""
    if wanted:
        typer.echo(f"sktl {importlib.metadata.version('sktl')}")
        raise typer.Exit
