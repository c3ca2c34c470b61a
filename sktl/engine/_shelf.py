"""``Shelf``: a store as this process sees it. Whatever the disk does, it never raises.

Rows this process used last are in memory, the others in a database file. When the
file cannot be written or was damaged, there is one warning, and the shelf answers as
if it held less; a damaged file is left aside and a new one begun.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from sktl.engine._database import Database
from sktl.engine._memory import RowMemory
from sktl.engine._owner import Owner
from sktl.engine._rows_format import CorruptRowError, decode_row, encode_row
from sktl.exceptions import CacheWarning

T = TypeVar("T")

_FILE = re.compile(r"rows-v1-(\d{4})\.sqlite")
_DEFAULT_MAX_BYTES = 8 * 2**30
_SHARE_OF_FREE_DISK = 0.1
# After the disk refused, it is left alone for a while: it may have been cleared since.
_PAUSE_SECONDS = 30.0
# Uses are noted to the hour, so that reading rarely writes.
_USED_RESOLUTION = 3600
_UNWRITABLE = ("full", "readonly", "locked", "unable to open", "disk I/O")

_shelves: dict[str, Shelf] = {}
_shelves_lock = threading.Lock()


def shelf_at(folder: str, *, max_bytes: int | None, lasting: bool) -> Shelf:
    """Return this process's shelf for ``folder``; the same one each time."""
    folder = os.path.realpath(folder)
    with _shelves_lock:
        shelf = _shelves.get(folder)
        if shelf is None:
            shelf = _shelves[folder] = Shelf(folder, lasting=lasting)
    if max_bytes is not None:
        shelf.max_bytes = max_bytes
    return shelf


class Shelf:
    """The rows under one folder."""

    def __init__(self, folder: str, *, lasting: bool, max_bytes: int | None = None):
        self.folder = folder
        self.lasting = lasting
        self.memory = RowMemory()
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._database: Database | None = None
        self._pid = os.getpid()
        self._resumes_at = {"read": 0.0, "write": 0.0}
        self._warned: set[str] = set()
        self._writes_since_check = 0

    @property
    def max_bytes(self) -> int:
        """The bound on the file's size."""
        if self._max_bytes is None:
            existing = self.folder
            while not os.path.isdir(existing) and os.path.dirname(existing) != existing:
                existing = os.path.dirname(existing)
            try:
                free = shutil.disk_usage(existing).free
            except OSError:
                free = 0
            share = int(free * _SHARE_OF_FREE_DISK)
            self._max_bytes = min(_DEFAULT_MAX_BYTES, max(share, 2**20))
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, value: int) -> None:
        self._max_bytes = int(value)

    # What the engine asks for

    def read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Return the rows held for ``keys``."""
        self._notice_changes()
        found = self.memory.read(keys)
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            fresh = self._guarded(
                lambda database: self._read(database, missing), {}, use="read"
            )
            self.memory.write(fresh)
            found.update(fresh)
        return found

    def _read(
        self, database: Database, keys: Sequence[bytes]
    ) -> dict[bytes, np.ndarray]:
        rows, stale, corrupt = {}, [], 0
        noted = time.time() - _USED_RESOLUTION
        for key, blob, used in database.read(keys):
            try:
                rows[key] = decode_row(key, blob)
            except CorruptRowError:
                corrupt += 1
                continue
            if used < noted:
                stale.append(key)
        if corrupt:
            self._warn(
                "rows",
                f"{corrupt} rows of the embedding store at {self.folder!r} were "
                "damaged on disk. They are computed again.",
            )
        if stale:
            # Whoever may not write may still read.
            with contextlib.suppress(sqlite3.OperationalError):
                database.touch(stale)
        return rows

    def write(self, rows: dict[bytes, np.ndarray], owner: Owner) -> None:
        """Keep freshly computed rows."""
        self.memory.write(rows)
        items = [(key, encode_row(key, row)) for key, row in rows.items()]
        self._guarded(lambda database: database.write(items, owner), None)
        self._writes_since_check += sum(len(blob) for _, blob in items)
        if self._writes_since_check > self.max_bytes // 50:
            self._writes_since_check = 0
            self._guarded(self._make_room, None)

    def _make_room(self, database: Database) -> None:
        """Drop what was used longest ago when the bound is passed."""
        if database.used_bytes() > self.max_bytes:
            database.evict(int(self.max_bytes * 0.9))

    def claim(
        self, keys: Sequence[bytes], owner: Owner
    ) -> tuple[set[bytes], set[bytes]]:
        """Return the keys that ``owner`` is to compute, and those already stored."""
        return self._guarded(
            lambda database: database.claim(keys, owner), (set(keys), set())
        )

    def free(self, keys: Sequence[bytes]) -> list[bytes]:
        """Return the keys that nobody is computing any more."""
        return self._guarded(lambda database: database.free(keys), list(keys))

    def beat(self, owner: Owner) -> None:
        """Show that ``owner`` is still at work."""
        self._guarded(lambda database: database.beat(owner), None)

    def leave(self, owner: Owner) -> None:
        """Drop what ``owner`` claims."""
        self._guarded(lambda database: database.leave(owner), None)

    # What its owner asks for

    def figures(self) -> dict:
        """Return what ``EmbeddingStore.info`` shows."""
        empty = {"rows": 0, "bytes": 0, "computed": 0}
        if self._generation() == 0:
            return empty
        return self._guarded(Database.figures, empty, use="read")

    def prune(self, max_bytes: int | None = None) -> int:
        """Drop rows until ``max_bytes`` suffice, and all that is left aside."""
        limit = self.max_bytes if max_bytes is None else max_bytes
        self.memory.clear()
        self._remove_files(keep_newest=True)
        if self._generation() == 0:
            return 0

        def prune(database: Database) -> int:
            database.forget_the_dead()
            dropped = database.evict(limit)
            database.shrink()
            return dropped

        return self._guarded(prune, 0)

    def clear(self) -> None:
        """Forget every row."""
        with self._lock:
            self._close()
            self.memory.clear()
            self._resumes_at = {"read": 0.0, "write": 0.0}
            self._remove_files(keep_newest=False)

    # The file

    def _notice_changes(self) -> None:
        """Let go of a file that was removed, replaced or opened before a fork."""
        with self._lock:
            if self._pid != os.getpid():
                # SQLite forbids to use, or even to close, a connection across a fork.
                self._pid = os.getpid()
                self._database, _leaked = None, self._database
                _leaks.append(_leaked)
            elif self._database is not None and not self._database.is_current():
                self._close()
                self.memory.clear()

    def _guarded(
        self, action: Callable[[Database], T], otherwise: T, use: str = "write"
    ) -> T:
        """Run ``action`` on the database; on failure warn once and return the other."""
        with self._lock:
            self._notice_changes()
            if time.monotonic() < self._resumes_at[use]:
                return otherwise
            for _attempt in range(2):
                try:
                    return action(self._open())
                except (sqlite3.Error, OSError) as error:
                    if self._is_damage(error):
                        self._set_aside(error)
                        continue
                    self._pause(error, use)
                    return otherwise
            return otherwise

    def _open(self) -> Database:
        """Return the open database, of the newest generation."""
        if self._database is None:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self._database = Database(
                self._path(max(self._generation(), 1)), lasting=self.lasting
            )
        return self._database

    @staticmethod
    def _is_damage(error: Exception) -> bool:
        """Tell a damaged file from a disk that refuses."""
        if isinstance(error, OSError):
            return False
        text = str(error)
        if isinstance(error, sqlite3.OperationalError):
            return not any(reason in text for reason in _UNWRITABLE)
        return isinstance(error, sqlite3.DatabaseError)

    def _set_aside(self, error: Exception) -> None:
        """Leave the damaged file alone and begin a new one."""
        newest = self._generation()
        damaged = newest if self._database is None else _number(self._database.path)
        self._close()
        self._warn(
            "damage",
            f"The embedding store at {self.folder!r} is damaged ({error}). It is set "
            "aside and a new one begun; embeddings are computed again.",
        )
        if newest <= damaged:
            with contextlib.suppress(OSError):
                path = self._path(damaged + 1)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    def _pause(self, error: Exception, use: str) -> None:
        """Leave the disk alone for a while; what may not be written may be read."""
        self._close()
        self._resumes_at[use] = time.monotonic() + _PAUSE_SECONDS
        self._warn(
            "disk",
            f"The embedding store at {self.folder!r} cannot be used ({error}). "
            "Embeddings are right, but are computed again when needed.",
        )

    def _warn(self, kind: str, message: str) -> None:
        """Warn once in this process for each store and kind of trouble."""
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, CacheWarning, stacklevel=2)

    def _close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _path(self, generation: int) -> str:
        return os.path.join(self.folder, f"rows-v1-{generation:04d}.sqlite")

    def _generation(self) -> int:
        """Return the number of the newest file, 0 if there is none."""
        try:
            return max(map(_number, os.listdir(self.folder)), default=0)
        except OSError:
            return 0

    def _remove_files(self, *, keep_newest: bool) -> None:
        newest = self._generation() if keep_newest else None
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                number = _number(name.removesuffix("-journal"))
                if number and number != newest:
                    with contextlib.suppress(OSError):
                        os.remove(os.path.join(self.folder, name))


_leaks: list[Database | None] = []


def _number(path: str) -> int:
    """Return the generation of a file, 0 if it is no file of a store."""
    match = _FILE.fullmatch(os.path.basename(path))
    return int(match[1]) if match else 0
