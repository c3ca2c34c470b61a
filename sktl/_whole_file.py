"""``whole_file``: write a file completely, or leave the old one untouched."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the path of a new file that replaces ``path`` at the end.

    The new file is in the same folder, so that the file system can replace ``path`` in
    one step. If anything fails before that, Ctrl-C included, the new file is removed.
    """
    path = Path(os.path.realpath(os.path.expanduser(path)))
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; name a file in it.")
    # It keeps the suffix, because some writers depend on it.
    partial = path.with_name(f".{secrets.token_hex(4)}.part.{path.name}")
    try:
        partial.touch(exist_ok=False)  # if nothing can be written, fail at once
    except FileNotFoundError:
        raise FileNotFoundError(
            f"The folder {str(path.parent)!r} does not exist. Create it, or choose "
            "another one."
        ) from None
    except PermissionError:
        raise PermissionError(
            f"You have no permission to write to {str(path.parent)!r}. Choose another "
            "folder."
        ) from None
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def check_writable(path: str | os.PathLike) -> None:
    """Raise now the error that writing ``path`` would raise later."""
    with contextlib.suppress(_Stop), whole_file(path):
        raise _Stop


class _Stop(Exception):  # noqa: N818 - it is not an error
    """Ends a trial before the file is replaced."""
