"""``Workshop``: decodes missing rows and runs them, so that neither waits.

On a CPU each stream is a thread that decodes a small batch and runs it on its share of
the cores. Two streams of one thread beat one network on two threads with decoding
beside it (51 against 37 images/s for resnet18 from JPEGs): nothing waits for anything,
and no core idles while the other decodes. In front of a GPU, threads decode ahead and
one other feeds it large batches.
"""

from __future__ import annotations

import contextlib
import os
import queue
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sktl.engine._crew import Crew
from sktl.engine._engines import Engine
from sktl.engine._part import FrozenPart
from sktl.engine._threads import one_thread, threads_given_back
from sktl.engine._torch_engine import LEAST_SHORT_BATCH, TorchRunner, is_out_of_memory
from sktl.exceptions import UnreadableImageError

# take(n) hands out up to n positions still to be computed, none at the end.
Take = Callable[[int], list[int]]
Idle = Callable[[], None]

_MOST_STREAMS = 16
# About 10 ms on one thread. Sharing less than this between threads gains little, and
# waiting for each other on a busy machine took 130 ms for 20 images of 28 px.
_LIGHT_GFLOPS = 1.0
# A decoding thread hands over this many images at once; a GPU batch takes several.
_DECODED_AT_ONCE = 16


@dataclass
class Batch:
    """What became of a few rows."""

    positions: list[int] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    values: np.ndarray | None = None
    unreadable: list[tuple[int, UnreadableImageError]] = field(default_factory=list)


class Workshop:
    """Decodes rows and runs them through ``engine``.

    Parameters
    ----------
    rows, part
        Images, and what is to be computed of them.
    engine : callable
        Takes prepared images, returns their rows.
    batch_size : int
        Images per forward pass; halved when a GPU runs out of memory.
    n_streams : int
        Threads that decode and run at the same time; 1 works in the calling thread.
    n_decoders : int
        If not 0: threads that decode ahead of a single one that runs.
    is_light : bool
        Whether all of it is so little work that one thread does it soonest.
    """

    def __init__(
        self,
        rows,
        part: FrozenPart,
        engine: Callable[[list[Tensor]], np.ndarray],
        batch_size: int,
        n_streams: int = 1,
        n_decoders: int = 0,
        is_light: bool = False,
    ):
        self.rows = rows
        self.part = part
        self.engine = engine
        self.batch_size = batch_size
        self.n_streams = n_streams
        self.n_decoders = n_decoders
        self.is_light = is_light
        self.only_decode = False
        self._has_warned = False

    def run(self, take: Take, idle: Idle | None = None) -> Iterator[Batch]:
        """Process all that ``take`` hands out; closing the iterator ends the work.

        ``idle`` is called now and then while nothing comes back.
        """
        if self.n_decoders:
            return self._run_behind_decoders(take, idle)
        if self.n_streams > 1:
            return self._run_streams(take, idle)
        return self._run_here(take)

    def _run_here(self, take: Take) -> Iterator[Batch]:
        with one_thread() if self.is_light else contextlib.nullcontext():
            yield from self._stream(take)

    def _stream(self, take: Take) -> Iterator[Batch]:
        while positions := take(self.batch_size):
            batch = self._decode(positions)
            self._compute(batch)
            yield batch

    def _run_streams(self, take: Take, idle: Idle | None) -> Iterator[Batch]:
        n_threads = torch.get_num_threads()

        def stream() -> Iterator[Batch]:
            torch.set_num_threads(max(1, n_threads // self.n_streams))  # this thread's
            yield from self._stream(take)

        with threads_given_back(n_threads):
            crew = Crew(2 * self.n_streams + 2, idle)
            yield from crew.collect([stream] * self.n_streams)

    def _run_behind_decoders(self, take: Take, idle: Idle | None) -> Iterator[Batch]:
        n_threads = torch.get_num_threads()
        crew = Crew(4, idle)
        decoded: queue.Queue = queue.Queue(
            2 + 2 * self.batch_size // _DECODED_AT_ONCE + self.n_decoders
        )

        def decode() -> Iterator[Batch]:
            torch.set_num_threads(1)
            try:
                while positions := take(_DECODED_AT_ONCE):
                    if not crew.put(decoded, self._decode(positions)):
                        return
            finally:
                crew.put(decoded, None)
            yield from ()

        def compute() -> Iterator[Batch]:
            running, gathered = self.n_decoders, Batch()
            while running:
                batch = crew.get(decoded)
                if batch is None:
                    running -= 1
                else:
                    gathered.positions += batch.positions
                    gathered.tensors += batch.tensors
                    gathered.unreadable += batch.unreadable
                if not running or len(gathered.tensors) >= self.batch_size:
                    self._compute(gathered)
                    yield gathered
                    gathered = Batch()

        with threads_given_back(n_threads):
            yield from crew.collect([compute, *[decode] * self.n_decoders])

    def _decode(self, positions: list[int]) -> Batch:
        """Prepare a few rows, and note those that cannot be read."""
        batch = Batch()
        for position in positions:
            try:
                tensor = self.rows.prepare(
                    position, self.part.recipe, self.part.value_range
                )
            except UnreadableImageError as error:
                batch.unreadable.append((position, error))
            else:
                batch.positions.append(position)
                batch.tensors.append(tensor)
        return batch

    def _compute(self, batch: Batch) -> None:
        """Put the rows of prepared images in their place."""
        tensors, batch.tensors = batch.tensors, []
        if tensors and not self.only_decode:
            batch.values = self._forward(tensors)

    def _forward(self, tensors: list[Tensor]) -> np.ndarray:
        """Run a batch; in halves if the GPU has no memory for it."""
        try:
            return self.engine(tensors)
        except RuntimeError as error:
            if not is_out_of_memory(error) or len(tensors) == 1:
                raise
        # Here, the failed batch is no longer held by the traceback.
        half = len(tensors) // 2
        self.batch_size = min(self.batch_size, half)
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"The device has no memory for {len(tensors)} images at once; the "
                f"batch is halved. batch_size={half} avoids this.",
                RuntimeWarning,
                stacklevel=2,
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return np.concatenate(
            [self._forward(tensors[:half]), self._forward(tensors[half:])]
        )


def open_workshop(
    rows, part: FrozenPart, device: str, batch_size: int | str, n_rows: int
) -> Workshop:
    """Return the workshop for ``n_rows`` rows: engine, batch size, streams."""
    if batch_size == "auto":
        batch_size = automatic_batch_size(part, device)
    if part.precision != "float32":
        # The torch engine would fill a smaller one up.
        batch_size = max(batch_size, LEAST_SHORT_BATCH)
    engine = Engine(part, device)
    if device != "cpu":
        decoders = min(os.cpu_count() or 1, -(-n_rows // _DECODED_AT_ONCE), 32)
        return Workshop(rows, part, engine, batch_size, n_decoders=decoders)
    n_batches = -(-n_rows // batch_size)
    n_streams = min(torch.get_num_threads(), n_batches, _MOST_STREAMS)
    work = n_rows * (getattr(part.backbone.info, "gflops", None) or _LIGHT_GFLOPS)
    return Workshop(
        rows, part, engine, batch_size, n_streams, is_light=work < _LIGHT_GFLOPS
    )


def automatic_batch_size(part: FrozenPart, device: str) -> int:
    """Return the batch that runs fastest: small on a CPU, large on a GPU."""
    height, width = part.recipe.size
    share = 224 * 224 / (height * width)
    if device == "cpu":
        # Larger ones fall out of the cache: mobilenet_v2 runs 75 images/s in batches
        # of 8 and 32 in batches of 32.
        return int(min(max(8 * share, 4), 32))
    return int(min(max((64 if device == "mps" else 256) * share, 16), 1024))


def row_shape(part: FrozenPart) -> tuple[int, ...]:
    """Return the shape of one row of ``part``, from a black image."""
    image = torch.zeros(part.recipe.channels, *part.recipe.size, dtype=torch.uint8)
    part = replace(part, precision="float32", engine="torch")
    return TorchRunner(part, "cpu")([image]).shape[1:]
