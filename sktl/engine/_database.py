"""``Database``: the rows of a store in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from sktl.engine._sqlite_file import SqliteFile, chunks, marks


class Database(SqliteFile):
    """Rows under their keys, with the time of their last use."""

    schema = (
        "CREATE TABLE rows(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,"
        " used INTEGER NOT NULL, data BLOB NOT NULL)",
        "CREATE INDEX rows_used ON rows(used)",
        "CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
        " WITHOUT ROWID",
    )

    def read(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield key, stored bytes and last use of those keys that are there."""
        for chunk in chunks(keys):
            yield from self._connection.execute(
                "SELECT key, CAST(data AS BLOB), used FROM rows"
                f" WHERE key IN ({marks(chunk)})",
                chunk,
            )

    def present(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of ``keys`` that are stored."""
        found: set[bytes] = set()
        for chunk in chunks(keys):
            found.update(
                key
                for (key,) in self._connection.execute(
                    f"SELECT key FROM rows WHERE key IN ({marks(chunk)})", chunk
                )
            )
        return found

    def write(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Store rows, and count them."""
        now = int(time.time())
        with self.transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO rows(key, used, data) VALUES(?, ?, ?)",
                [(key, now, blob) for key, blob in items],
            )
            self._connection.execute(
                "INSERT INTO counters(name, value) VALUES('computed', ?)"
                " ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
                (len(items),),
            )

    def touch(self, keys: Sequence[bytes]) -> None:
        """Note that these rows were used now."""
        now = int(time.time())
        with self.transaction():
            for chunk in chunks(keys):
                self._connection.execute(
                    f"UPDATE rows SET used=? WHERE key IN ({marks(chunk)})",
                    [now, *chunk],
                )

    def evict(self, target_bytes: int) -> int:
        """Drop the rows used longest ago until ``target_bytes`` suffice."""
        dropped = 0
        while (used := self.used_bytes()) > target_bytes:
            rows = self._connection.execute("SELECT count(*) FROM rows").fetchone()[0]
            if rows == 0:
                break
            n = min(rows, max(1, int(rows * (used - target_bytes) / used)))
            with self.transaction():
                self._connection.execute(
                    "DELETE FROM rows WHERE id IN"
                    " (SELECT id FROM rows ORDER BY used, id LIMIT ?)",
                    (n,),
                )
            dropped += n
        return dropped

    def shrink(self) -> None:
        """Give free pages back to the file system."""
        self._connection.execute("PRAGMA incremental_vacuum").fetchall()

    def used_bytes(self) -> int:
        """Return the bytes in use, free pages not counted."""
        run = self._connection.execute
        pages = run("PRAGMA page_count").fetchone()[0]
        free = run("PRAGMA freelist_count").fetchone()[0]
        return (pages - free) * run("PRAGMA page_size").fetchone()[0]

    def figures(self) -> dict[str, int]:
        """Return the number of rows, bytes, and rows ever computed."""
        run = self._connection.execute
        counters = dict(run("SELECT name, value FROM counters"))
        return {
            "rows": run("SELECT count(*) FROM rows").fetchone()[0],
            "bytes": self.used_bytes(),
            "computed": counters.get("computed", 0),
        }
