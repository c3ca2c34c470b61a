"""``Forgiving``: a database file whose failures cost a warning, never an exception."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sktl.engine._sqlite_file import SqliteFile

File = TypeVar("File", bound=SqliteFile)
T = TypeVar("T")

# After the disk refused, it is left alone for a while: it may have been cleared since.
_PAUSE_SECONDS = 30.0
_REFUSALS = ("full", "readonly", "locked", "unable to open", "disk I/O")
# SQLite forbids to use, and even to close, a connection that came through a fork.
_inherited: list[SqliteFile] = []


class Forgiving(Generic[File]):
    """Opens a file when it is needed and runs actions on it.

    Parameters
    ----------
    open_file : callable
        Opens the file, or makes a new one.
    set_aside : callable
        Called with the damaged file's path, so that ``open_file`` finds another.
    warn : callable
        Called with a kind ("damage" or "disk") and the error.
    """

    def __init__(
        self,
        open_file: Callable[[], File],
        set_aside: Callable[[str | None], None],
        warn: Callable[[str, Exception], None],
    ):
        self._open_file = open_file
        self._set_aside = set_aside
        self._warn = warn
        self._file: File | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._resumes_at = {"read": 0.0, "write": 0.0}

    def attempt(
        self, action: Callable[[File], T], otherwise: T, use: str = "write"
    ) -> T:
        """Return what ``action`` does with the file; ``otherwise`` if it cannot."""
        with self._lock:
            self.notice_changes()
            if time.monotonic() < self._resumes_at[use]:
                return otherwise
            for _attempt in range(2):
                try:
                    if self._file is None:
                        self._file = self._open_file()
                    return action(self._file)
                except (sqlite3.Error, OSError) as error:
                    damaged = self._file.path if self._file else None
                    self.close()
                    if _is_damage(error):
                        self._warn("damage", error)
                        self._set_aside(damaged)
                        continue
                    # What may not be written may still be read.
                    self._resumes_at[use] = time.monotonic() + _PAUSE_SECONDS
                    self._warn("disk", error)
                    return otherwise
            return otherwise

    def notice_changes(self) -> bool:
        """Let go of a file from before a fork, or one removed; True if removed."""
        with self._lock:
            if self._file is None:
                return False
            if self._pid != os.getpid():
                _inherited.append(self._file)
                self._file, self._pid = None, os.getpid()
                return False
            if self._file.is_current():
                return False
            self.close()
            return True

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._file.close()
            self._file = None

    def resume(self) -> None:
        """Forget that the disk refused."""
        self._resumes_at = {"read": 0.0, "write": 0.0}


def _is_damage(error: Exception) -> bool:
    """Tell a damaged file from a disk that refuses."""
    if isinstance(error, sqlite3.OperationalError):
        return not any(reason in str(error) for reason in _REFUSALS)
    return isinstance(error, sqlite3.DatabaseError)
