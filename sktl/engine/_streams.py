"""``Streams``: decode rows and run them through the network, with neither waiting.

On a CPU each stream is a thread that decodes a small batch and runs it on its share of
the cores. Two streams of one thread beat one network on two threads with decoding
beside it (51 against 37 images/s for resnet18 from JPEGs). For a GPU, threads decode
ahead and one more feeds it large batches.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sktl.engine._compiled_networks import compiled_file
from sktl.engine._device import one_thread, threads_given_back
from sktl.engine._frozen_part import FrozenPart
from sktl.engine._torch_runner import LEAST_SHORT_BATCH, TorchRunner, is_out_of_memory
from sktl.exceptions import UnreadableImageError

Item = TypeVar("Item")
Result = TypeVar("Result")
Closable = Generator[Item, None, None]
Runner = Callable[[list[Tensor]], np.ndarray]

_MOST_STREAMS = 16
# About 10 ms on one thread. Sharing less than this between threads gains little, and
# waiting for each other on a busy machine took 130 ms for 20 images of 28 px.
_LIGHT_GFLOPS = 1.0
# A decoding thread hands over this many images at once; a GPU batch takes several.
_DECODED_AT_ONCE = 16
# Converting for OpenVINO takes 2 to 5 s on an idle machine and saves a fifth or more of
# the time: worth it if torch would take this long. Fewer rows are not timed.
_WORTHWHILE_SECONDS = 20.0
_LEAST_TIMED = 50

_warned: set[str] = set()


class RunnerFailedError(RuntimeError):
    """OpenVINO cannot run this network below float32: start again with torch."""


@dataclass
class Batch:
    """A few rows on their way through the network."""

    positions: list[int] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    values: np.ndarray | None = None
    unreadable: list[tuple[int, UnreadableImageError]] = field(default_factory=list)


@dataclass
class Streams:
    """Threads that decode rows and run them through a network.

    ``n_streams`` of them do both, a single one in the calling thread; ``n_decoders``
    only decode, ahead of one that runs. ``is_light`` means so little work that one
    thread of torch is fastest.
    """

    rows: Any
    part: FrozenPart
    runner: Runner
    batch_size: int  # halved when a GPU runs out of memory
    n_streams: int = 1
    n_decoders: int = 0
    is_light: bool = False
    only_decode: bool = False
    _has_warned: bool = False

    @property
    def decode_size(self) -> int:
        """How many rows to hand out at once."""
        return _DECODED_AT_ONCE if self.n_decoders else self.batch_size

    def run(self, positions: Closable[list[int]]) -> Closable[Batch]:
        """Process the rows at ``positions``; closing the iterator ends the work."""
        if self.n_decoders:
            ahead = 2 + 2 * self.batch_size // _DECODED_AT_ONCE + self.n_decoders
            decoded = _in_threads(self._decode, positions, self.n_decoders, ahead)
            return _in_threads(self._forward, self._gather(decoded), 1, ahead=1)
        if self.n_streams > 1:
            ahead = 2 * self.n_streams + 2
            return _in_threads(self._process, positions, self.n_streams, ahead)
        return self._run_here(positions)

    def _run_here(self, positions: Closable[list[int]]) -> Closable[Batch]:
        """Process rows in the calling thread: starting another takes milliseconds."""
        threads = one_thread() if self.is_light else contextlib.nullcontext()
        with threads, contextlib.closing(positions):
            for some in positions:
                yield self._process(some)

    def _process(self, positions: list[int]) -> Batch:
        """Decode a few rows and run them."""
        return self._forward(self._decode(positions))

    def _decode(self, positions: list[int]) -> Batch:
        """Prepare a few rows, and note those that cannot be read."""
        batch, part = Batch(), self.part
        for i in positions:
            try:
                tensor = self.rows.prepare(i, part.recipe, part.value_range)
            except UnreadableImageError as error:
                batch.unreadable.append((i, error))
            else:
                batch.positions.append(i)
                batch.tensors.append(tensor)
        return batch

    def _gather(self, decoded: Closable[Batch]) -> Closable[Batch]:
        """Join decoded rows into batches for a GPU."""
        gathered = Batch()
        with contextlib.closing(decoded):
            for batch in decoded:
                gathered.positions += batch.positions
                gathered.tensors += batch.tensors
                gathered.unreadable += batch.unreadable
                if len(gathered.tensors) >= self.batch_size:
                    yield gathered
                    gathered = Batch()
        if gathered.tensors or gathered.unreadable:
            yield gathered

    def _forward(self, batch: Batch) -> Batch:
        """Run prepared images, in smaller batches if the GPU has no memory for them."""
        tensors, batch.tensors, values = batch.tensors, [], []
        done = 0
        while done < len(tensors) and not self.only_decode:
            some = tensors[done : done + self.batch_size]
            try:
                values.append(self.runner(some))
                done += len(some)
                continue
            except RuntimeError as error:
                if not is_out_of_memory(error) or len(some) == 1:
                    raise
            # Outside the handler, no traceback holds the failed batch.
            self._halve(len(some))
        if values and done == len(tensors):
            batch.values = np.concatenate(values) if len(values) > 1 else values[0]
        return batch

    def _halve(self, n_images: int) -> None:
        """Continue in smaller batches."""
        self.batch_size = min(self.batch_size, n_images // 2)
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"The device has no memory for {n_images} images at once; the batch is "
                f"halved. batch_size={n_images // 2} avoids this.",
                RuntimeWarning,
                stacklevel=2,
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _in_threads(
    function: Callable[[Item], Result],
    items: Closable[Item],
    n_threads: int,
    ahead: int,
) -> Closable[Result]:
    """Yield ``function(item)`` for each item, in order, computed a few items ahead.

    Closing the iterator, as an interrupt does, stops all threads after the item they
    are at. An exception in a thread is raised here.
    """
    with threads_given_back() as n_torch, contextlib.closing(items):
        share = max(1, n_torch // n_threads)  # set in each thread
        pool = ThreadPoolExecutor(
            n_threads, "sktl-engine", torch.set_num_threads, (share,)
        )
        running: deque[Future[Result]] = deque()
        try:
            for item in items:
                running.append(pool.submit(function, item))
                if len(running) > ahead:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def open_streams(
    rows, part: FrozenPart, device: str, batch_size: int | str, n_rows: int
) -> Streams:
    """Return the streams for ``n_rows`` rows: runner, batch size, threads."""
    automatic = batch_size == "auto"
    size = automatic_batch_size(part, device) if automatic else int(batch_size)
    if part.precision != "float32":
        # The torch runner would pad a smaller one.
        size = max(size, LEAST_SHORT_BATCH)
    streams = Streams(rows, part, _open_runner(part, device, n_rows), size)
    if device != "cpu":
        n_pieces = -(-n_rows // _DECODED_AT_ONCE)
        streams.n_decoders = min(os.cpu_count() or 1, n_pieces, 32)
    else:
        gflops = getattr(part.backbone.info, "gflops", None) or _LIGHT_GFLOPS
        streams.is_light = n_rows * gflops < _LIGHT_GFLOPS
        if not streams.is_light:
            n_batches = -(-n_rows // size)
            streams.n_streams = min(torch.get_num_threads(), n_batches, _MOST_STREAMS)
    return streams


def automatic_batch_size(part: FrozenPart, device: str) -> int:
    """Return the batch that runs fastest: small on a CPU, large on a GPU."""
    height, width = part.recipe.size
    share = 224 * 224 / (height * width)
    if device == "cpu":
        # Larger batches do not fit into the cache: mobilenet_v2 runs 75 images/s in
        # batches of 8 and 32 in batches of 32.
        return int(min(max(8 * share, 4), 32))
    return int(min(max((64 if device == "mps" else 256) * share, 16), 1024))


def _open_runner(part: FrozenPart, device: str, n_rows: int) -> Runner:
    """Return what runs the batches of one call, decided once, before it starts.

    At float32 OpenVINO and torch give the same numbers, so either may run: OpenVINO if
    the network is compiled already, in memory or on disk, or if the call is long enough
    to pay for converting it. Below float32 they round differently, so the key names the
    engine, and it is used for every row.
    """
    if part.engine != "openvino" or device != "cpu":
        return TorchRunner(part, device)
    on_disk = compiled_file(part).exists()
    is_short = part.precision != "float32"
    convert = is_short or (not on_disk and _is_long(part, n_rows))
    imported = "sktl.engine._openvino_runner" in sys.modules
    if not (convert or on_disk or imported):
        return TorchRunner(part, device)  # do not import OpenVINO
    from sktl.engine._openvino_runner import ConversionError, openvino_runner

    try:
        runner = openvino_runner(part, torch.get_num_threads(), convert=convert)
        return runner or TorchRunner(part, device)
    except ConversionError as error:
        name = part.backbone.name
        if name not in _warned:
            _warned.add(name)
            warnings.warn(
                f"OpenVINO cannot run {name!r} ({error}). Torch runs it instead; "
                "engine='torch' avoids this warning.",
                RuntimeWarning,
                stacklevel=2,
            )
        if is_short:
            raise RunnerFailedError from error
        return TorchRunner(part, device)


def _is_long(part: FrozenPart, n_rows: int) -> bool:
    """Tell whether torch would take long for this many rows, by timing one image."""
    if n_rows < _LEAST_TIMED:
        return False
    runner = TorchRunner(part, "cpu")
    image = torch.zeros(part.recipe.channels, *part.recipe.size, dtype=torch.uint8)
    for _ in range(2):  # the first pass takes longer
        with one_thread():
            start = time.perf_counter()
            runner([image])
            seconds = time.perf_counter() - start
        if n_rows * seconds / torch.get_num_threads() <= _WORTHWHILE_SECONDS:
            return False
    return True
