"""``StoreFolder``: a store on disk; whatever the disk does, it never raises.

The rows this process used last are in memory, the others in a file. If the file cannot
be written or is damaged, there is one warning, and the store acts as if it held less. A
damaged file is left alone and a new one begun under another name, so that the journal
of one can never be replayed onto the other.
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
from functools import cached_property
from typing import Any

import numpy as np
from cachetools import LRUCache

from sktl._wording import size
from sktl.exceptions import CacheWarning
from sktl.store._claims import Claims
from sktl.store._database import Database
from sktl.store._row_format import CorruptRowError, decode_row, encode_row

_FILE = re.compile(r"rows-v1-(\d{4})\.sqlite(-journal)?")
_DEFAULT_MAX_BYTES = 8 * 2**30
_SHARE_OF_FREE_DISK = 0.1
# The last use is recorded to the hour, so that reading rarely writes.
_USED_RESOLUTION = 3600
# After an error, the disk is left alone for a while: it may recover.
_PAUSE_SECONDS = 30.0
_REFUSALS = ("full", "readonly", "locked", "unable to open", "disk I/O")
# Holds 30,000 embeddings of 512 numbers; reading one from the file takes 5 us more.
_MEMORY_BYTES = 64 * 2**20
# Feature maps would push out thousands of embeddings each; they stay on the disk.
_MAX_ROW_BYTES = 64 * 2**10
_ENTRY_BYTES = 250  # that a row in memory takes besides its numbers


class RowStore:
    """The store as the engine uses it. This one keeps nothing: ``cache=None``."""

    def read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Return the rows held for ``keys``; callers must not write into them."""
        return {}

    def write(self, rows: dict[bytes, np.ndarray]) -> None:
        """Keep freshly computed rows."""

    def claims(self) -> Claims:
        """Return the means to agree with other calls on who computes what."""
        return Claims(None)


class StoreFolder(RowStore):
    """The rows in one folder of this machine, created when the first is stored.

    If ``lasting``, they survive a power cut.
    """

    def __init__(self, folder: str, *, lasting: bool, max_bytes: int | None = None):
        self.folder = folder
        self.lasting = lasting
        self.memory = _empty_memory()
        self._memory_lock = threading.Lock()
        if max_bytes is not None:
            self.max_bytes = max_bytes
        self._written_bytes = 0
        self._warned: set[str] = set()
        self._database: Database | None = None
        self._generation = 0  # of the file opened last
        self._resumes_at = {"read": 0.0, "write": 0.0}
        self._lock = threading.RLock()

    @cached_property
    def max_bytes(self) -> int:
        """The limit of the size on disk."""
        existing = self.folder
        while not os.path.isdir(existing) and os.path.dirname(existing) != existing:
            existing = os.path.dirname(existing)
        free = 0
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(existing).free
        return min(_DEFAULT_MAX_BYTES, max(int(free * _SHARE_OF_FREE_DISK), 2**20))

    def read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Return the rows held for ``keys``; callers must not write into them."""
        with self._lock:
            if self._database is not None and not self._database.is_current():
                self.close()  # removed by another process
                self.forget()
        with self._memory_lock:
            look = self.memory.get
            found = {key: row for key in keys if (row := look(key)) is not None}
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            fresh, damaged, stale = {}, 0, []
            noted = time.time() - _USED_RESOLUTION
            for key, blob, used in self._attempt(
                Database.read, missing, otherwise=(), use="read"
            ):
                try:
                    fresh[key] = decode_row(key, blob)
                except CorruptRowError:
                    damaged += 1
                    continue
                if used < noted:
                    stale.append(key)
            if damaged:
                self._warn(
                    "damage", f"holds {damaged} damaged rows. They are computed again."
                )
            if stale:
                self._attempt(Database.touch, stale)
            self._remember(fresh)
            found.update(fresh)
        return found

    def _remember(self, rows: dict[bytes, np.ndarray]) -> None:
        """Keep rows in memory, as copies if they are views of a larger array."""
        with self._memory_lock:
            for key, row in rows.items():
                if row.nbytes <= _MAX_ROW_BYTES and key not in self.memory:
                    self.memory[key] = row if row.base is None else row.copy()

    def forget(self) -> None:
        """Drop the rows in memory."""
        with self._memory_lock:
            self.memory = _empty_memory()

    def write(self, rows: dict[bytes, np.ndarray]) -> None:
        """Keep freshly computed rows."""
        self._remember(rows)
        items = [(key, encode_row(key, row)) for key, row in rows.items()]
        self._attempt(Database.write, items)
        n_bytes, limit = sum(len(blob) for _, blob in items), self.max_bytes
        self._written_bytes += n_bytes
        if self._written_bytes % (limit // 50 + 1) < n_bytes:  # now and then
            self._attempt(Database.make_room, limit)
        if self._written_bytes > limit:
            self._warn(
                "size",
                f"keeps {size(limit)}, and this process has written "
                f"{size(self._written_bytes)}. The oldest rows have to be computed "
                "again. Pass cache=EmbeddingStore(path, max_bytes=...) to keep more.",
            )

    def claims(self) -> Claims:
        """Return the means to agree with other calls on who computes what."""
        return Claims(os.path.join(self.folder, "claims"))

    def figures(self) -> dict[str, int]:
        """Return what ``EmbeddingStore.info`` shows."""
        nothing = {"rows": 0, "bytes": 0, "computed": 0}
        if self._newest() == 0:
            return nothing
        return self._attempt(Database.figures, otherwise=nothing, use="read")

    def prune(self, max_bytes: int | None = None) -> int:
        """Drop rows until ``max_bytes`` suffice, and files that were set aside."""
        newest = self._newest()
        self.forget()
        self._remove_files(but=newest)
        if newest == 0:
            return 0
        limit = self.max_bytes if max_bytes is None else max_bytes
        return self._attempt(Database.prune, limit, otherwise=0)

    def clear(self) -> None:
        """Drop every row."""
        self.close()
        self.forget()
        self._resumes_at = {"read": 0.0, "write": 0.0}
        self._remove_files(but=None)

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._lock:
            if self._database is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._database.close()
            self._database = None

    def _attempt(
        self,
        action: Callable[..., Any],
        *args: object,
        otherwise: Any = None,
        use: str = "write",
    ) -> Any:
        """Return the result of ``action`` on the file, or ``otherwise`` if it fails."""
        with self._lock:
            if time.monotonic() < self._resumes_at[use]:
                return otherwise
            for _attempt in range(2):
                try:
                    return action(self._open(), *args)
                except (sqlite3.Error, OSError) as error:
                    self.close()
                    if not _is_damage(error):
                        # A file that cannot be written may still be readable.
                        self._resumes_at[use] = time.monotonic() + _PAUSE_SECONDS
                        outcome = "Embeddings are correct, but may be computed again"
                        self._warn("disk", f"cannot be used ({error}). {outcome}.")
                        return otherwise
                    outcome = "It is set aside, and embeddings are computed again"
                    self._warn("damage", f"is damaged ({error}). {outcome}.")
                    self._begin_anew()
            return otherwise

    def _open(self) -> Database:
        """Return the newest file, opened; begin the first if there is none."""
        if self._database is None:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self._generation = max(self._newest(), 1)
            path = self._path(self._generation)
            self._database = Database(path, durable=self.lasting)
        return self._database

    def _begin_anew(self) -> None:
        """Begin the next file, unless another process has done so already."""
        if self._newest() <= self._generation:
            with contextlib.suppress(OSError):
                path = self._path(self._generation + 1)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    def _path(self, generation: int) -> str:
        return os.path.join(self.folder, f"rows-v1-{generation:04d}.sqlite")

    def _files(self) -> dict[str, int]:
        """Return the files and journals of rows, with their generations."""
        files = {}
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                if match := _FILE.fullmatch(name):
                    files[os.path.join(self.folder, name)] = int(match[1])
        return files

    def _newest(self) -> int:
        """Return the generation of the newest file, 0 if there is none."""
        files = self._files().items()
        return max((n for path, n in files if path.endswith(".sqlite")), default=0)

    def _remove_files(self, *, but: int | None) -> None:
        """Remove the files of all generations ``but`` one."""
        for path, generation in self._files().items():
            if generation != but:
                with contextlib.suppress(OSError):
                    os.remove(path)

    def _warn(self, kind: str, message: str) -> None:
        """Warn once in this process for each store and kind of problem."""
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(
                f"The embedding store at {self.folder!r} {message}",
                CacheWarning,
                stacklevel=2,
            )

    def _renew(self) -> None:
        """Replace what a forked child cannot share with its parent."""
        # SQLite forbids using, and even closing, an inherited connection.
        _inherited.append(self._database)
        self._database = None
        if self._memory_lock.locked():  # by a thread that was writing into it
            self.memory = _empty_memory()
        self._memory_lock, self._lock = threading.Lock(), threading.RLock()


def _empty_memory() -> LRUCache:
    """Return an empty cache for the rows used last."""
    return LRUCache(_MEMORY_BYTES, lambda row: row.nbytes + _ENTRY_BYTES)


def _is_damage(error: Exception) -> bool:
    """Tell whether the file is damaged, rather than the disk full or read-only."""
    if isinstance(error, sqlite3.OperationalError):
        return not any(reason in str(error) for reason in _REFUSALS)
    return isinstance(error, sqlite3.DatabaseError)


_folders: dict[str, StoreFolder] = {}
_folders_lock = threading.Lock()
_inherited: list[Database | None] = []


def store_folder(folder: str, *, max_bytes: int | None, lasting: bool) -> StoreFolder:
    """Return this process's store at ``folder``; the same one each time."""
    folder = os.path.realpath(folder)
    with _folders_lock:
        store = _folders.get(folder)
        if store is None:
            store = _folders[folder] = StoreFolder(folder, lasting=lasting)
    if max_bytes is not None:
        store.max_bytes = max_bytes
    return store


def _renew_all() -> None:
    """Give a forked child locks that no thread of its parent holds."""
    global _folders_lock
    _folders_lock = threading.Lock()
    for store in _folders.values():
        store._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
