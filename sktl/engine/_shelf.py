"""``Shelf``: a store as this process sees it. Whatever the disk does, it never raises.

Rows this process used last are in memory, the others in a file. When that cannot be
written or was damaged, there is one warning, and the shelf answers as if it held less.

A damaged file is left as it is and a new one begun, under a name of its own: the
journal of one can then never be replayed onto another.
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
from collections.abc import Sequence

import numpy as np

from sktl.engine._claims import Claims
from sktl.engine._database import Database
from sktl.engine._forgiving import Forgiving
from sktl.engine._memory import RowMemory
from sktl.engine._owner import Owner
from sktl.engine._rows_format import CorruptRowError, decode_row, encode_row
from sktl.exceptions import CacheWarning

_FILE = re.compile(r"rows-v1-(\d{4})\.sqlite")
_CLAIMS = "claims-v1.sqlite"
_DEFAULT_MAX_BYTES = 8 * 2**30
_SHARE_OF_FREE_DISK = 0.1
# Uses are noted to the hour, so that reading rarely writes.
_USED_RESOLUTION = 3600

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
    """The rows under one folder.

    Parameters
    ----------
    folder : str
        Made when the first row is stored.
    lasting : bool
        Whether rows are to survive a power cut. Those of this run would not anyway.
    max_bytes : int, optional
        The bound on their size on disk.
    """

    def __init__(self, folder: str, *, lasting: bool, max_bytes: int | None = None):
        self.folder = folder
        self.lasting = lasting
        self.memory = RowMemory()
        self._max_bytes = max_bytes
        self._warned: set[str] = set()
        self._bytes_since_check = 0
        self._rows = Forgiving(self._open_rows, self._begin_anew, self._warn_rows)
        self._claims = Forgiving(
            self._open_claims, self._remove_claims, self._warn_claims
        )

    @property
    def max_bytes(self) -> int:
        """The bound on the size on disk."""
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
        if self._rows.notice_changes():
            self.memory.clear()
        found = self.memory.read(keys)
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            fresh = self._rows.attempt(lambda f: self._read(f, missing), {}, use="read")
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
                "damage",
                f"{corrupt} rows of the embedding store at {self.folder!r} were "
                "damaged on disk. They are computed again.",
            )
        if stale:
            # Whoever may not write may still read.
            with contextlib.suppress(sqlite3.OperationalError):
                database.touch(stale)
        return rows

    def write(self, rows: dict[bytes, np.ndarray], owner: Owner) -> None:
        """Keep freshly computed rows, and drop the claims on them."""
        self.memory.write(rows)
        items = [(key, encode_row(key, row)) for key, row in rows.items()]
        self._rows.attempt(lambda f: f.write(items), None)
        self._claims.attempt(lambda f: f.drop(list(rows), owner), None)
        self._bytes_since_check += sum(len(blob) for _, blob in items)
        if self._bytes_since_check > self.max_bytes // 50:
            self._bytes_since_check = 0
            self._rows.attempt(self._make_room, None)

    def _make_room(self, database: Database) -> None:
        """Drop what was used longest ago when the bound is passed."""
        if database.used_bytes() > self.max_bytes:
            database.evict(int(self.max_bytes * 0.9))

    def expect(self, n_bytes: int) -> None:
        """Say so if the rows of one call will not fit."""
        if n_bytes > self.max_bytes:
            self._warn(
                "size",
                f"The embeddings of one call take {_in_words(n_bytes)}, and the store "
                f"at {self.folder!r} keeps {_in_words(self.max_bytes)}: the first will "
                "have gone when they are wanted again. Pass "
                "cache=EmbeddingStore(path, max_bytes=...) to keep more.",
            )

    def claim(
        self, keys: Sequence[bytes], owner: Owner
    ) -> tuple[set[bytes], set[bytes]]:
        """Return the keys that ``owner`` is to compute, and those already stored."""
        return self._claims.attempt(
            lambda f: f.claim(keys, owner, self._present), (set(keys), set())
        )

    def free(self, keys: Sequence[bytes]) -> list[bytes]:
        """Return the keys that nobody is computing any more."""
        taken = self._claims.attempt(lambda f: f.taken(keys), set())
        return [key for key in keys if key not in taken]

    def _present(self, keys: Sequence[bytes]) -> set[bytes]:
        return self._rows.attempt(lambda f: f.present(keys), set(), use="read")

    def beat(self, owner: Owner) -> None:
        """Show that ``owner`` is still at work."""
        self._claims.attempt(lambda f: f.beat(owner), None)

    def leave(self, owner: Owner) -> None:
        """Drop what ``owner`` claims."""
        self._claims.attempt(lambda f: f.leave(owner), None)

    # What its owner asks for

    def figures(self) -> dict[str, int]:
        """Return what ``EmbeddingStore.info`` shows."""
        empty = {"rows": 0, "bytes": 0, "computed": 0}
        if self._generation() == 0:
            return empty
        return self._rows.attempt(Database.figures, empty, use="read")

    def prune(self, max_bytes: int | None = None) -> int:
        """Drop rows until ``max_bytes`` suffice, and files that were set aside."""
        limit = self.max_bytes if max_bytes is None else max_bytes
        self.memory.clear()
        self._remove_rows(but=self._generation())
        if self._generation() == 0:
            return 0

        def prune(database: Database) -> int:
            dropped = database.evict(limit)
            database.shrink()
            return dropped

        return self._rows.attempt(prune, 0)

    def clear(self) -> None:
        """Forget every row."""
        self.close()
        self.memory.clear()
        self._rows.resume()
        self._claims.resume()
        self._remove_rows(but=None)

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        self._rows.close()
        self._claims.close()

    # The files

    def _open_rows(self) -> Database:
        """Open the newest generation, or begin the first."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        return Database(self._path(max(self._generation(), 1)), durable=self.lasting)

    def _open_claims(self) -> Claims:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        return Claims(os.path.join(self.folder, _CLAIMS), durable=False)

    def _begin_anew(self, damaged: str | None) -> None:
        """Leave the damaged file alone and begin the next generation."""
        newest = self._generation()
        number = _number(damaged) if damaged else newest
        if newest <= number:  # else another process has done so already
            with contextlib.suppress(OSError):
                path = self._path(number + 1)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    def _remove_claims(self, damaged: str | None) -> None:
        for suffix in ("", "-journal"):
            with contextlib.suppress(OSError):
                os.remove(os.path.join(self.folder, _CLAIMS + suffix))

    def _path(self, generation: int) -> str:
        return os.path.join(self.folder, f"rows-v1-{generation:04d}.sqlite")

    def _generation(self) -> int:
        """Return the number of the newest file, 0 if there is none."""
        try:
            return max(map(_number, os.listdir(self.folder)), default=0)
        except OSError:
            return 0

    def _remove_rows(self, *, but: int | None) -> None:
        """Remove the files of all generations ``but`` one."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                number = _number(name.removesuffix("-journal"))
                if number and number != but:
                    with contextlib.suppress(OSError):
                        os.remove(os.path.join(self.folder, name))

    # What is said

    def _warn_rows(self, kind: str, error: Exception) -> None:
        if kind == "damage":
            self._warn(
                kind,
                f"The embedding store at {self.folder!r} is damaged ({error}). It is "
                "set aside and a new one begun; embeddings are computed again.",
            )
        else:
            self._warn(
                kind,
                f"The embedding store at {self.folder!r} cannot be used ({error}). "
                "Embeddings are right, but are computed again when needed.",
            )

    def _warn_claims(self, kind: str, error: Exception) -> None:
        # Without claims, two processes may compute the same row: no harm but time.
        # When the disk refuses, it refuses rows too, and those are warned about.
        if kind == "disk":
            self._warn_rows(kind, error)

    def _warn(self, kind: str, message: str) -> None:
        """Warn once in this process for each store and kind of trouble."""
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, CacheWarning, stacklevel=2)


def _in_words(n_bytes: int) -> str:
    """Return a size for people."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes > 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _number(path: str) -> int:
    """Return the generation of a file, 0 if it is no file of a store."""
    match = _FILE.fullmatch(os.path.basename(path))
    return int(match[1]) if match else 0
