"""The program: its commands, and how failures become one line and an exit code."""

from __future__ import annotations

import importlib.metadata
import os
import warnings
from typing import Annotated

import typer
from typer.core import TyperGroup

from sktl.cli._backbones import backbones
from sktl.cli._cache import cache
from sktl.cli._compare_and_train import compare, train
from sktl.cli._demo import demo
from sktl.cli._embed import embed
from sktl.cli._predict_and_report import predict, report
from sktl.cli._terminal import complain
from sktl.exceptions import SktlError

_FAILED, _INTERRUPTED = 1, 130
# Warnings that a user of the command cannot act on.
_FOR_DEVELOPERS = (
    *(DeprecationWarning, FutureWarning, ImportWarning, PendingDeprecationWarning),
    ResourceWarning,
)


class _Commands(TyperGroup):
    """All commands, and the one place where failures are caught."""

    def invoke(self, ctx):
        """Run a command."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                complain("interrupted; no file is half-written.")
                raise typer.Exit(_INTERRUPTED) from None
            except BrokenPipeError:
                raise  # the reader of our output has stopped
            except (SktlError, OSError, ValueError, MemoryError) as error:
                if os.environ.get("SKTL_DEBUG"):
                    raise
                complain(_in_words(error))
                raise typer.Exit(_FAILED) from None


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if not issubclass(category, _FOR_DEVELOPERS):
        complain(str(message), style="yellow", prefix="sktl: warning: ")


def _in_words(error: BaseException) -> str:
    """Return the line to print for an error."""
    if isinstance(error, MemoryError):
        return "there is not enough memory; a smaller --image-size needs less."
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fsdecode(error.filename)!r}: {error.strerror}."
    return str(error) or type(error).__name__


app = typer.Typer(
    name="sktl",
    cls=_Commands,
    help="Transfer learning for images that feels like scikit-learn.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, compare, train, predict, report, embed, backbones):
    app.command()(command)
app.add_typer(cache, name="cache", no_args_is_help=True)


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


def main() -> None:
    """Run the program."""
    app()
