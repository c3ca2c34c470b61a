"""``Work``: hands out what is missing, so that no row is computed twice."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from sktl.engine._owner import Owner
from sktl.engine._shelf import Shelf

_BEAT_SECONDS = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1
# Batches claimed at once: claiming costs 0.2 ms, and what is claimed is not shared.
_BATCHES_AHEAD = 8
# Smaller batches cost more for each image than the streams would wait for each other.
_LEAST_SHARE = 4


class Work:
    """The missing rows of one call, claimed a few batches at a time.

    Two calls that meet the same rows divide them: each claims the next rows that
    nobody has, and when none are left waits for the other's. Claims are only held on
    rows about to be computed, so nobody can wait in a circle; those of a process that
    died are free at once.
    """

    def __init__(
        self,
        missing: Sequence[bytes],
        shelf: Shelf | None,
        batch_size: int,
        n_streams: int,
    ):
        self.shelf = shelf
        self.owner = Owner()
        self.n_streams = n_streams
        self.batch_size = batch_size
        self._computed: dict[bytes, np.ndarray] = {}
        self._store_again_at = 0.0
        self._collected: dict[bytes, np.ndarray] = {}
        self._waiting = deque(missing)  # not looked at yet
        self._ready: deque[bytes] = deque()  # claimed, not handed out
        self._elsewhere: list[bytes] = []  # somebody else is computing them
        self._lock = threading.Lock()
        self._beat = time.monotonic()
        self._has_claimed = False

    def take(self, n: int) -> list[bytes]:
        """Return up to ``n`` keys to compute now; none when the round is over."""
        with self._lock:
            while not self._ready and self._waiting:
                self._claim_some()
            # The last few rows are divided between the streams.
            left = len(self._ready) + len(self._waiting)
            share = max(_LEAST_SHARE, -(-left // self.n_streams))
            n = min(n, len(self._ready), share)
            return [self._ready.popleft() for _ in range(n)]

    def _claim_some(self) -> None:
        """Claim the next few keys: enough to be cheap, few enough to be shared."""
        if self.shelf is None:
            self._ready, self._waiting = self._waiting, self._ready
            return
        n = min(len(self._waiting) // 4, _BATCHES_AHEAD * self.batch_size)
        n = min(max(n, self.batch_size), len(self._waiting))
        some = [self._waiting.popleft() for _ in range(n)]
        self._has_claimed = True
        mine, stored = self.shelf.claim(some, self.owner)
        rows = self.shelf.read(list(stored)) if stored else {}
        self._collected.update(rows)
        for key in some:
            # Stored and yet not readable: damaged, and to be written again.
            if key in mine or (key in stored and key not in rows):
                self._ready.append(key)
            elif key not in stored:
                self._elsewhere.append(key)

    def collected(self) -> dict[bytes, np.ndarray]:
        """Return, once, the rows that turned out to be stored meanwhile."""
        with self._lock:
            rows, self._collected = self._collected, {}
        return rows

    def wait_for_others(self) -> bool:
        """Wait for rows claimed elsewhere; False if there are none."""
        self.flush()
        pause = _FIRST_PAUSE
        while self._elsewhere:
            free = set(self.shelf.free(self._elsewhere))
            if free:
                self._waiting.extend(k for k in self._elsewhere if k in free)
                self._elsewhere = [k for k in self._elsewhere if k not in free]
                return True
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return False

    def store(self, rows: dict[bytes, np.ndarray]) -> None:
        """Keep computed rows: at once, or with the next ones if the disk is slow."""
        if self.shelf is not None:
            self._computed.update(rows)
            if time.monotonic() >= self._store_again_at:
                self.flush()

    def flush(self) -> None:
        """Store what was computed, and drop the claims on it."""
        if self._computed:
            rows, self._computed = self._computed, {}
            start = time.monotonic()
            self.shelf.write(rows, self.owner)
            self._beat = time.monotonic()
            # A disk that takes 20 ms to sync is asked for a fifth of the time at most.
            self._store_again_at = self._beat + 4 * (self._beat - start)

    def beat(self) -> None:
        """Show now and then that this call is still at work."""
        now = time.monotonic()
        if self._has_claimed and now - self._beat > _BEAT_SECONDS:
            self._beat = now
            self.shelf.beat(self.owner)

    def leave(self) -> None:
        """Store what is left, and drop what is still claimed."""
        self.flush()
        if self._has_claimed:
            self.shelf.leave(self.owner)
