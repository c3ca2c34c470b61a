"""``whole_file``: a file is written whole, or what was there stays as it was."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the path of a new file that takes the place of ``path`` at the end.

    It lies in the same folder, so that moving it is one step of the file system. If
    anything goes wrong on the way, Ctrl-C included, it is removed.
    """
    path = Path(os.path.realpath(os.path.expanduser(path)))
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; name a file in it.")
    # No suffix of its own: some writers look at it.
    partial = path.with_name(f".{secrets.token_hex(4)}.part.{path.name}")
    try:
        partial.touch(exist_ok=False)  # where nothing can be written, fail at once
    except FileNotFoundError:
        raise FileNotFoundError(
            f"The folder {str(path.parent)!r} does not exist; make it, or choose "
            "another place."
        ) from None
    except PermissionError:
        raise PermissionError(
            f"There is no permission to write into {str(path.parent)!r}; choose "
            "another place."
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
    """Raise now what writing ``path`` would raise after hours of work."""
    with contextlib.suppress(_Stop), whole_file(path):
        raise _Stop


class _Stop(Exception):  # noqa: N818 - it reports no error
    """Ends a trial before the file is moved to its place."""
