"""``RowMemory``: the rows that this process used last, bounded, in front of a store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

import numpy as np

# Enough for 30,000 embeddings of 512 numbers; beyond it the disk answers, which costs
# about 5 us a row more.
_MAX_BYTES = 64 * 2**20
# Feature maps would push out thousands of embeddings each; they stay on the disk.
_MAX_ROW_BYTES = 64 * 2**10
_OVERHEAD = 250  # bytes that an entry costs beside its numbers


class RowMemory:
    """A bounded mapping from keys to rows, least recently used out first."""

    def __init__(self, max_bytes: int = _MAX_BYTES):
        self.max_bytes = max_bytes
        self._rows: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Return the rows held for ``keys``; callers must not write into them."""
        found = {}
        with self._lock:
            rows = self._rows
            for key in keys:
                row = rows.get(key)
                if row is not None:
                    rows.move_to_end(key)
                    found[key] = row
        return found

    def write(self, rows: dict[bytes, np.ndarray]) -> None:
        """Keep ``rows``, as copies if they are views of a larger array."""
        with self._lock:
            for key, row in rows.items():
                if row.nbytes > _MAX_ROW_BYTES or key in self._rows:
                    continue
                self._rows[key] = row if row.base is None else row.copy()
                self._bytes += row.nbytes + _OVERHEAD
            while self._bytes > self.max_bytes:
                _, row = self._rows.popitem(last=False)
                self._bytes -= row.nbytes + _OVERHEAD

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._rows.clear()
            self._bytes = 0
