"""What goes wrong becomes one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from sktl.exceptions import SktlError

FAILED, INTERRUPTED = 1, 130
# Warnings that tell a user of the command nothing that he could act on.
_FOR_DEVELOPERS = (
    DeprecationWarning,
    FutureWarning,
    ImportWarning,
    PendingDeprecationWarning,
    ResourceWarning,
)


class CommandError(SktlError):
    """The command cannot do what was asked, for a reason that the user can mend."""


class Commands(TyperGroup):
    """The group of all commands: the one place where failures are turned into words."""

    def invoke(self, ctx):
        """Run the command that was asked for."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                say("interrupted; nothing was left half-written.")
                raise typer.Exit(INTERRUPTED) from None
            except BrokenPipeError:
                raise  # whoever reads our output has heard enough
            except (SktlError, OSError, MemoryError) as error:
                if os.environ.get("SKTL_DEBUG"):
                    raise
                say(_in_words(error))
                raise typer.Exit(FAILED) from None


@contextlib.contextmanager
def questions_of_data() -> Iterator[None]:
    """Take a ValueError of estimators for what it is here: data that will not do."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, SktlError):
            raise
        raise CommandError(str(error)) from error


def say(message: str, style: str = "bold red", prefix: str = "sktl: ") -> None:
    """Write one line to stderr; markup and control codes in it are only text."""
    line = Text.assemble((prefix, style), printable(message))
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def printable(text: object) -> str:
    """Return text on one line, with nothing in it that a terminal would obey."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if not issubclass(category, _FOR_DEVELOPERS):
        say(str(message), style="yellow", prefix="sktl: warning: ")


def _in_words(error: BaseException) -> str:
    """Return what to tell of an error."""
    if isinstance(error, MemoryError):
        return "there is not enough memory; a smaller --image-size takes less."
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fsdecode(error.filename)!r}: {error.strerror}."
    return str(error) or type(error).__name__
