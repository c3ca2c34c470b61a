"""``Database``: the rows of a store in one SQLite file, which may be shared or damaged.

Why SQLite: it is in the standard library, survives a kill at any instruction and is the
most tested format there is. LMDB reads and writes 2 to 4 times faster here (54,000 rows
a second written against 20,000), which no network needs. But it maps the file into
memory: if that is truncated from outside, the process dies of SIGBUS without an error.
A journal in WAL mode is no faster for transactions of 8 rows, and its ``-shm`` file is
mapped into memory too.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_VERSION = 1
# 7 embeddings of 512 numbers fill a page; with 4 KiB pages, each would waste a page.
_PAGE_BYTES = 16384
_KEYS_AT_ONCE = 500  # SQLite's limit on bound values was 999 until 3.32
_BUSY_SECONDS = 10.0
_SCHEMA = (
    "CREATE TABLE rows(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,"
    " used INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX rows_used ON rows(used)",
    "CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
    " WITHOUT ROWID",
)


class ForeignFileError(sqlite3.DatabaseError):
    """The file is a database, but not one that this package wrote."""


class Database:
    """Rows under their keys, with the time of their last use.

    Not thread-safe; every error is passed on. Rows survive a kill in any case, and a
    power cut if ``durable``.
    """

    def __init__(self, path: str, *, durable: bool):
        self.path = path
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._run = self._connection.execute
        try:
            self._prepare(durable)
        except BaseException:
            self._connection.close()
            raise
        info = os.stat(path)
        self._inode = (info.st_dev, info.st_ino)

    def _prepare(self, durable: bool) -> None:
        """Set up the connection, and the schema of a new file."""
        run = self._run
        # Nothing stored in the file may run: no functions from the schema, and the
        # schema itself has to equal ours exactly.
        run("PRAGMA trusted_schema=OFF")
        run("PRAGMA cell_size_check=ON")
        run("PRAGMA mmap_size=0")
        run("PRAGMA temp_store=MEMORY")
        run("PRAGMA cache_size=-8000")
        run(f"PRAGMA page_size={_PAGE_BYTES}")
        if not self._has_schema():
            run("PRAGMA auto_vacuum=INCREMENTAL")
            with self._transaction():
                if not self._has_schema():
                    for statement in _SCHEMA:
                        run(statement)
                    run(f"PRAGMA user_version={_VERSION}")
        # The journal mode of a read-only file cannot be set, and does not matter.
        try:
            run("PRAGMA journal_mode=TRUNCATE")
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error):
                raise
        run(f"PRAGMA synchronous={'NORMAL' if durable else 'OFF'}")
        found = {row[0] for row in run("SELECT sql FROM sqlite_master") if row[0]}
        if found != set(_SCHEMA):
            raise ForeignFileError(f"{self.path} holds tables that are not a store's")

    def _has_schema(self) -> bool:
        """Tell whether the file has its tables; raise if another program wrote it."""
        version = self._run("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise ForeignFileError(f"{self.path} has version {version}")
        return version == _VERSION

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write all or nothing."""
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            # On a full disk SQLite has rolled back already.
            if self._connection.in_transaction:
                self._run("ROLLBACK")
            raise

    def read(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes, int]]:
        """Return key, stored bytes and last use for each key that is stored."""
        found: list[tuple[bytes, bytes, int]] = []
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            found += self._run(
                "SELECT key, CAST(data AS BLOB), used FROM rows"
                f" WHERE key IN ({','.join('?' * len(some))})",
                some,
            )
        return found

    def write(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Store rows, and count them."""
        now = int(time.time())
        with self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO rows(key, used, data) VALUES(?, ?, ?)",
                [(key, now, blob) for key, blob in items],
            )
            self._run(
                "INSERT INTO counters(name, value) VALUES('computed', ?)"
                " ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
                (len(items),),
            )

    def touch(self, keys: Sequence[bytes]) -> None:
        """Note that these rows were used now, if the file may be written."""
        now = int(time.time())
        with suppress(sqlite3.OperationalError), self._transaction():
            self._connection.executemany(
                "UPDATE rows SET used=? WHERE key=?", [(now, key) for key in keys]
            )

    def make_room(self, max_bytes: int) -> None:
        """Drop the least recently used tenth of the rows if there are too many."""
        if self.used_bytes() > max_bytes:
            self._evict(int(max_bytes * 0.9))

    def prune(self, max_bytes: int) -> int:
        """Drop rows until ``max_bytes`` suffice, and shrink the file."""
        dropped = self._evict(max_bytes)
        self._run("PRAGMA incremental_vacuum").fetchall()
        return dropped

    def _evict(self, target_bytes: int) -> int:
        """Drop the least recently used rows until ``target_bytes`` suffice."""
        dropped = 0
        while (used := self.used_bytes()) > target_bytes:
            n_rows = self._run("SELECT count(*) FROM rows").fetchone()[0]
            if n_rows == 0:
                break
            n = min(n_rows, max(1, int(n_rows * (used - target_bytes) / used)))
            with self._transaction():
                self._run(
                    "DELETE FROM rows WHERE id IN"
                    " (SELECT id FROM rows ORDER BY used, id LIMIT ?)",
                    (n,),
                )
            dropped += n
        return dropped

    def used_bytes(self) -> int:
        """Return the bytes in use, free pages not counted."""
        pages, free, size = (
            self._run(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def figures(self) -> dict[str, int]:
        """Return the number of rows, bytes, and rows ever computed."""
        counters = dict(self._run("SELECT name, value FROM counters").fetchall())
        return {
            "rows": self._run("SELECT count(*) FROM rows").fetchone()[0],
            "bytes": self.used_bytes(),
            "computed": counters.get("computed", 0),
        }

    def is_current(self) -> bool:
        """Tell whether the path still points to the open file."""
        try:
            info = os.stat(self.path)
        except OSError:
            return False
        return (info.st_dev, info.st_ino) == self._inode

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
