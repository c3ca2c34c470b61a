"""``activations``: rows of images in, rows of numbers out, each computed once."""

from __future__ import annotations

import contextlib
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sktl.engine._compiled_files import is_known_to_fail
from sktl.engine._device import resolve_device
from sktl.engine._part import FrozenPart
from sktl.engine._progress import progress_bar
from sktl.engine._shelf import Shelf
from sktl.engine._store import shelf_for
from sktl.engine._work import Work
from sktl.engine._workers import advise_to_prime, spare_workers_of_torch
from sktl.exceptions import UnreadableImageError, UnreadableImageWarning

if TYPE_CHECKING:
    from sktl.engine._workshop import Batch

_MOST_NAMED = 20
# Rows are read in groups, so that what the disk returns is never all in memory twice.
_READ_AT_ONCE = 2000

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
        Images: anything with ``len``, ``where``, ``fingerprint`` and ``prepare``.
    part : FrozenPart
        What to compute.
    device : str, default="auto"
        Where the network runs.
    batch_size : int or "auto", default="auto"
        Images per forward pass.
    cache : "session", path, EmbeddingStore or None, default="session"
        Where rows are kept.
    on_error : {"raise", "nan"}, default="raise"
        What an unreadable image does: one error for all of them at the end, or rows of
        NaN and one warning.
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
        With ``on_error="raise"``; it names every unreadable row.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.backbones import resolve
    >>> from sktl.engine import FrozenPart, activations
    >>> from sktl.images import ImageRows
    >>> backbone = resolve("lenet5")
    >>> part = FrozenPart(
    ...     backbone,
    ...     layers=backbone.info.stages[-1:],
    ...     pool="avg",
    ...     recipe=backbone.info.recipe,
    ...     value_range=None,
    ...     precision="float32",
    ...     engine="torch",
    ... )
    >>> rows = ImageRows.of(np.zeros((5, 28, 28), dtype=np.uint8))
    >>> activations(rows, part).shape == (5, backbone.info.n_features)
    True
    """
    if on_error not in ("raise", "nan"):
        raise ValueError(f"on_error={on_error!r} is not 'raise' or 'nan'.")
    call = _look_up(rows, part, cache, on_error)
    if call.missing:
        from sktl.engine._engines import EngineFailedError

        device = resolve_device(device)
        advise_to_prime(device)
        try:
            call.compute(device, batch_size, verbose, label)
        except EngineFailedError:
            call = _look_up(rows, replace(part, engine="torch"), cache, on_error)
            if call.missing:
                call.compute(device, batch_size, verbose, label)
    spare_workers_of_torch()
    if call.unreadable:
        call.report_unreadable()
    return call.result()


def _look_up(rows, part: FrozenPart, cache, on_error: str) -> _Call:
    """Return a call that knows what the store holds."""
    if part.engine == "openvino" and is_known_to_fail(part):
        part = replace(part, engine="torch")
    call = _Call(rows, part, shelf_for(cache), raises=on_error == "raise")
    call.look_up()
    return call


class _Call:
    """One run of ``activations``: which rows are known, and what they are."""

    def __init__(self, rows, part: FrozenPart, shelf: Shelf | None, *, raises: bool):
        self.rows = rows
        self.part = part
        self.shelf = shelf
        self.raises = raises
        self.unreadable: dict[int, UnreadableImageError] = {}
        self.keys: list[bytes | None] = []
        self.first: dict[bytes, int] = {}  # key -> the first row that has it
        self.missing: list[bytes] = []
        self.out: np.ndarray | None = None

    def look_up(self) -> None:
        """Fingerprint the rows, and collect what the store knows of them."""
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
        if self.shelf is None:
            self.missing = unique
            return
        for start in range(0, len(unique), _READ_AT_ONCE):
            some = unique[start : start + _READ_AT_ONCE]
            found = self.shelf.read(some)
            self._place(found)
            if len(found) < len(some):
                self.missing += [key for key in some if key not in found]

    def compute(self, device, batch_size, verbose, label) -> None:
        """Compute what is missing, or wait for whoever is computing it."""
        from sktl.engine._workshop import open_workshop

        workshop = open_workshop(
            self.rows, self.part, device, batch_size, len(self.missing)
        )
        work = Work(self.missing, self.shelf, workshop.batch_size, workshop.n_streams)

        def take(n: int) -> list[int]:
            return [self.first[key] for key in work.take(n)]

        done = 0
        with progress_bar(len(self.missing), verbose, label) as advance:
            try:
                while True:
                    # An error is certain: only find the other rows to name in it.
                    workshop.only_decode = self.raises and bool(self.unreadable)
                    with contextlib.closing(workshop.run(take, work.beat)) as batches:
                        for batch in batches:
                            n = self._receive(batch, work)
                            advance(n)
                            done += n
                            workshop.engine.consider_change(
                                done, len(self.missing) - done
                            )
                            if self.raises and self.unreadable:
                                workshop.only_decode = True
                    advance(self._place(work.collected()))
                    if not work.wait_for_others():
                        break
            finally:
                work.leave()
                workshop.engine.close()

    def _receive(self, batch: Batch, work: Work) -> int:
        """Keep and store the rows of one batch; return how many are done with."""
        self.unreadable.update(batch.unreadable)
        if batch.values is None:
            work.beat()
            return len(batch.unreadable)
        _count_embedded(len(batch.positions))
        values = zip(batch.positions, batch.values, strict=True)
        fresh = {self.keys[i]: row for i, row in values}
        if self.out is None and self.shelf is not None:
            self.shelf.expect(len(self.missing) * batch.values[0].nbytes)
        self._place(fresh)
        work.store(fresh)
        return len(fresh) + len(batch.unreadable)

    def _place(self, rows: dict[bytes, np.ndarray]) -> int:
        """Put rows where they belong in the output; return how many."""
        if rows and self.out is None:
            shape = next(iter(rows.values())).shape
            self.out = np.empty((len(self.keys), *shape), dtype=np.float32)
        for key, row in rows.items():
            self.out[self.first[key]] = row
        return len(rows)

    def result(self) -> np.ndarray:
        """Return the output, with repeated rows filled in and unreadable ones NaN."""
        if self.out is None:
            shape = (0,)
            if self.keys:  # none of them readable
                from sktl.engine._workshop import row_shape

                shape = row_shape(self.part)
            return np.full((len(self.keys), *shape), np.nan, dtype=np.float32)
        if len(self.first) < len(self.keys):
            for i, key in enumerate(self.keys):
                if key is not None and self.first[key] != i:
                    self.out[i] = self.out[self.first[key]]
        for i in self._unreadable_rows():
            self.out[i] = np.nan
        return self.out

    def _unreadable_rows(self) -> list[int]:
        """Return the rows without a readable image, repetitions among them."""
        if not self.unreadable:
            return []
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


def _count_embedded(n: int) -> None:
    global _embedded
    with _embedded_lock:
        _embedded += n
