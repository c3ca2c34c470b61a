"""``activations``: rows of images in, rows of numbers out, each computed once."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from sktl._extras import has_module
from sktl.engine._compiled_networks import failure_file
from sktl.engine._device import resolve_device
from sktl.engine._frozen_part import FrozenPart
from sktl.engine._search_workers import advise_to_prime, spare_workers_of_torch
from sktl.exceptions import UnreadableImageError, UnreadableImageWarning
from sktl.store import RowStore, open_store

if TYPE_CHECKING:
    from sktl.engine._streams import Batch, Streams

_MOST_NAMED = 20
# Rows are read in groups, so that what the disk returns is never all in memory twice.
_READ_AT_ONCE = 2000
# Batches claimed at once: claiming costs 0.2 ms, and what is claimed is not shared.
_BATCHES_AHEAD = 8
# Smaller batches would cost more per image than the streams' waiting for each other.
_LEAST_SHARE = 4

_embedded = 0
_embedded_lock = threading.Lock()


def images_embedded() -> int:
    """Return how many images this process has sent through a network.

    Examples
    --------
    >>> from sktl.engine import images_embedded
    >>> before = images_embedded()
    >>> images_embedded() - before
    0
    """
    return _embedded


def activations(
    rows,
    part: FrozenPart,
    *,
    device: str = "auto",
    batch_size: int | str = "auto",
    cache="session",
    on_error: str = "raise",
    verbose: int = 0,
    label: str | None = None,
) -> np.ndarray:
    """Return the values of ``part`` for every row, computing only what is not stored.

    Parameters
    ----------
    rows : ImageRows
        Images, or anything else with a length and three methods: ``fingerprint(i)``
        returns bytes that stand for the content of row ``i``, ``prepare(i, recipe,
        value_range)`` its tensor, not normalised, and ``where(i)`` a name for messages.
        With ``is_storable=False`` nothing is kept in the cache.
    part : FrozenPart
        What to compute.
    device : str, default="auto"
        Where the network runs.
    batch_size : int or "auto", default="auto"
        Images per forward pass.
    cache : "session", path, EmbeddingStore or None, default="session"
        Where rows are kept.
    on_error : {"raise", "nan"}, default="raise"
        How unreadable images are reported: one error for all of them at the end, or
        rows of NaN and one warning.
    verbose : int, default=0
        Show a progress bar over the images that have to be computed.
    label : str, default=None
        What the progress bar says.

    Returns
    -------
    ndarray of float32, shape (len(rows), ...)
        In the order of ``rows``.

    Raises
    ------
    UnreadableImageError
        With ``on_error="raise"``; the message names every unreadable row.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.backbones import resolve
    >>> from sktl.engine import FrozenPart, activations
    >>> from sktl.images import ImageRows
    >>> net = resolve("lenet5")
    >>> stages, recipe = net.info.stages[-1:], net.info.recipe
    >>> part = FrozenPart(net, stages, "avg", recipe, None, "float32", "torch")
    >>> rows = ImageRows.of(np.zeros((5, 28, 28), dtype=np.uint8))
    >>> activations(rows, part).shape == (5, net.info.n_features)
    True
    """
    if on_error not in ("raise", "nan"):
        raise ValueError(f"on_error={on_error!r} is not 'raise' or 'nan'.")
    if part.engine == "openvino" and (
        not has_module("openvino") or failure_file(part).exists()
    ):
        part = replace(part, engine="torch")
    store = open_store(cache if getattr(rows, "is_storable", True) else None)
    call = _Call(rows, part, store, raises=on_error == "raise")
    call.look_up()
    if call.missing:
        from sktl.engine._streams import RunnerFailedError, open_streams

        device = resolve_device(device)
        advise_to_prime(device)
        try:
            streams = open_streams(rows, part, device, batch_size, len(call.missing))
        except RunnerFailedError:
            part = replace(part, engine="torch")  # whose rows have other keys
            streams = open_streams(rows, part, device, batch_size, len(call.missing))
            call = _Call(rows, part, store, raises=call.raises)
            call.look_up()
        call.compute(streams, verbose, label)
    spare_workers_of_torch()
    if call.unreadable:
        call.report_unreadable()
    return call.result()


def row_shape(part: FrozenPart) -> tuple[int, ...]:
    """Return the shape of one row of ``part``, from a black image."""
    import torch

    from sktl.engine._torch_runner import TorchRunner

    image = torch.zeros(part.recipe.channels, *part.recipe.size, dtype=torch.uint8)
    part = replace(part, precision="float32", engine="torch")
    return TorchRunner(part, "cpu")([image]).shape[1:]


class _Call:
    """One run of ``activations``: which rows are known, and which are to be computed.

    Calls that need the same rows divide them: each claims the next few that are free,
    and when none are left, waits for the others.
    """

    def __init__(self, rows, part: FrozenPart, store: RowStore, *, raises: bool):
        self.rows = rows
        self.part = part
        self.store = store
        self.raises = raises
        self.keys: list[bytes | None] = []
        self.first: dict[bytes, int] = {}  # key -> the first row that has it
        self.unreadable: dict[int, UnreadableImageError] = {}
        self.missing: list[bytes] = []
        self.out: np.ndarray | None = None
        self._claims = store.claims()
        self._elsewhere: list[bytes] = []  # other calls are computing them
        self._computed: dict[bytes, np.ndarray] = {}  # not stored yet
        self._store_again_at = 0.0

    def look_up(self) -> None:
        """Fingerprint the rows, and collect those that the store has."""
        digest, keys, first = self.part.digest, self.keys, self.first
        fingerprint = self.rows.fingerprint
        for i in range(len(self.rows)):
            try:
                key = digest + fingerprint(i)
            except UnreadableImageError as error:
                self.unreadable[i] = error
                keys.append(None)
                continue
            keys.append(key)
            first.setdefault(key, i)
        unique = list(first)
        for start in range(0, len(unique), _READ_AT_ONCE):
            some = unique[start : start + _READ_AT_ONCE]
            found = self.store.read(some)
            self._place(found)
            if len(found) < len(some):
                self.missing += [key for key in some if key not in found]

    def compute(self, streams: Streams, verbose: int, label: str | None) -> None:
        """Compute what is missing, or wait for the calls that are computing it."""
        with contextlib.ExitStack() as stack:
            self._advance = lambda n: None
            if verbose:
                from tqdm.auto import tqdm

                n_rows, label = len(self.missing), label or "embedding"
                bar = tqdm(total=n_rows, desc=label, unit="image")
                self._advance = stack.enter_context(bar).update
            stack.enter_context(self._claims)
            stack.callback(self._flush)
            while self.missing:
                # Once an error is certain, only look for other rows to name in it.
                streams.only_decode = self.raises and bool(self.unreadable)
                batches = streams.run(self._hand_out(streams))
                with contextlib.closing(batches):
                    for batch in batches:
                        self._receive(batch)
                        streams.only_decode = self.raises and bool(self.unreadable)
                self._flush()
                self._claims.wait(self._elsewhere)
                self.missing, self._elsewhere = self._elsewhere, []

    def _hand_out(self, streams: Streams) -> Generator[list[int], None, None]:
        """Yield rows to compute, a batch at a time, claimed a few batches ahead."""
        waiting, ready = deque(self.missing), deque[bytes]()
        while waiting or ready:
            if not ready:
                n = min(len(waiting) // 4, _BATCHES_AHEAD * streams.batch_size)
                n = min(max(n, streams.batch_size), len(waiting))
                ready.extend(self._claim([waiting.popleft() for _ in range(n)]))
                continue
            # The last few rows are divided between the streams.
            share = -(-(len(ready) + len(waiting)) // streams.n_streams)
            n = min(streams.decode_size, len(ready), max(_LEAST_SHARE, share))
            yield [self.first[ready.popleft()] for _ in range(n)]

    def _claim(self, keys: Sequence[bytes]) -> list[bytes]:
        """Return the keys that this call is to compute."""
        mine = self._claims.take(keys)
        stored = self.store.read(mine)  # meanwhile, by another call
        self._claims.release(stored)
        self._advance(self._place(stored))
        if len(mine) < len(keys):
            claimed = set(mine)
            self._elsewhere += [key for key in keys if key not in claimed]
        return [key for key in mine if key not in stored]

    def _receive(self, batch: Batch) -> None:
        """Place and store the rows of one batch."""
        self.unreadable.update(batch.unreadable)
        self._advance(len(batch.unreadable))
        keys = [cast(bytes, self.keys[i]) for i in batch.positions]
        given_up = [cast(bytes, self.keys[i]) for i, _ in batch.unreadable]
        # Other calls that wait for these rows have to find out for themselves.
        self._claims.release(given_up if batch.values is not None else keys + given_up)
        if batch.values is None:
            return
        global _embedded
        with _embedded_lock:
            _embedded += len(batch.positions)
        fresh = dict(zip(keys, batch.values, strict=True))
        self._advance(self._place(fresh))
        self._computed.update(fresh)
        if time.monotonic() >= self._store_again_at:
            self._flush()

    def _flush(self) -> None:
        """Store what was computed, and end the claims on it."""
        if self._computed:
            rows, self._computed = self._computed, {}
            start = time.monotonic()
            self.store.write(rows)
            self._claims.release(rows)
            now = time.monotonic()
            # Storing takes at most a fifth of the time, even if a sync takes 20 ms.
            self._store_again_at = now + 4 * (now - start)

    def _place(self, rows: dict[bytes, np.ndarray]) -> int:
        """Put rows where they belong in the output; return how many."""
        for key, row in rows.items():
            if self.out is None:
                self.out = np.empty((len(self.keys), *row.shape), dtype=np.float32)
            self.out[self.first[key]] = row
        return len(rows)

    def result(self) -> np.ndarray:
        """Return the output, with repeated rows filled in and unreadable ones NaN."""
        if self.out is None:
            shape = row_shape(self.part) if self.keys else (0,)
            return np.full((len(self.keys), *shape), np.nan, dtype=np.float32)
        if len(self.first) < len(self.keys):
            for i, key in enumerate(self.keys):
                if key is not None and self.first[key] != i:
                    self.out[i] = self.out[self.first[key]]
        self.out[self._unreadable_rows()] = np.nan
        return self.out

    def _unreadable_rows(self) -> list[int]:
        """Return the rows without a readable image, repetitions included."""
        bad = {self.keys[i] for i in self.unreadable} - {None}
        return [
            i
            for i, key in enumerate(self.keys)
            if i in self.unreadable or (key is not None and key in bad)
        ]

    def report_unreadable(self) -> None:
        """Name every row that could not be read: raise, or warn."""
        bad = self._unreadable_rows()
        causes = [str(self.unreadable.get(i, self.rows.where(i))) for i in bad]
        named = "; ".join(causes[:_MOST_NAMED])
        if len(bad) > _MOST_NAMED:
            named += "; and " + ", ".join(map(self.rows.where, bad[_MOST_NAMED:]))
        message = f"{len(bad)} of {len(self.keys)} images cannot be read: {named}."
        if self.raises:
            raise UnreadableImageError(
                f"{message} Remove them, or keep them as rows of NaN with "
                "PretrainedFeatures(on_error='nan')."
            ) from self.unreadable[min(self.unreadable)]
        warnings.warn(
            f"{message} Their rows are NaN.", UnreadableImageWarning, stacklevel=4
        )
