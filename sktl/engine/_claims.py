"""``Claims``: which rows somebody is computing right now.

In a file of their own: they need not survive a power cut, so claiming never waits for
the disk, while rows do. A row is stored before the claim on it is dropped, and claims
are looked at before rows; so whoever finds neither may compute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sktl.engine._owner import Owner, holds
from sktl.engine._sqlite_file import SqliteFile, chunks, marks


class Claims(SqliteFile):
    """Keys of rows that are being computed, each with its owner."""

    schema = (
        "CREATE TABLE claims(key BLOB PRIMARY KEY, owner BLOB NOT NULL) WITHOUT ROWID",
        "CREATE TABLE owners(token BLOB PRIMARY KEY, identity TEXT NOT NULL,"
        " beat REAL NOT NULL) WITHOUT ROWID",
    )

    def claim(
        self,
        keys: Sequence[bytes],
        owner: Owner,
        present: Callable[[Sequence[bytes]], set[bytes]],
    ) -> tuple[set[bytes], set[bytes]]:
        """Put ``owner`` on the keys that nobody has; return (its own, those stored)."""
        with self.transaction():
            taken = self.taken(keys)
            free = [key for key in keys if key not in taken]
            stored = present(free)
            mine = [key for key in free if key not in stored]
            if mine:
                self._beat(owner)
                self._connection.executemany(
                    "INSERT OR REPLACE INTO claims(key, owner) VALUES(?, ?)",
                    [(key, owner.token) for key in mine],
                )
        return set(mine), stored

    def taken(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of ``keys`` that somebody alive is computing."""
        claimed: list[tuple[bytes, bytes]] = []
        for chunk in chunks(keys):
            claimed += self._connection.execute(
                f"SELECT key, owner FROM claims WHERE key IN ({marks(chunk)})", chunk
            )
        if not claimed:
            return set()
        living = self._owners(alive=True)
        return {key for key, token in claimed if token in living}

    def drop(self, keys: Sequence[bytes], owner: Owner) -> None:
        """Drop the claims of ``owner`` on rows that are stored now."""
        with self.transaction():
            self._beat(owner)
            self._connection.executemany(
                "DELETE FROM claims WHERE key=? AND owner=?",
                [(key, owner.token) for key in keys],
            )

    def beat(self, owner: Owner) -> None:
        """Show that ``owner`` is still at work."""
        with self.transaction():
            self._beat(owner)

    def leave(self, owner: Owner) -> None:
        """Drop all that ``owner`` claims, and all that the dead did."""
        dead = self._owners(alive=False)
        with self.transaction():
            for token in {owner.token, *dead}:
                self._connection.execute("DELETE FROM claims WHERE owner=?", (token,))
                self._connection.execute("DELETE FROM owners WHERE token=?", (token,))

    def _owners(self, *, alive: bool) -> set[bytes]:
        """Return the tokens of the owners that live, or of those that do not."""
        now = time.time()
        found = self._connection.execute("SELECT token, identity, beat FROM owners")
        return {
            token
            for token, identity, beat in found
            if holds(identity, beat, now) is alive
        }

    def _beat(self, owner: Owner) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO owners(token, identity, beat) VALUES(?, ?, ?)",
            (owner.token, str(owner), time.time()),
        )
