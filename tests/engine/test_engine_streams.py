"""Streams, decoders ahead of a GPU, and batches that do not fit."""

import threading

import numpy as np
import pytest
import torch

from sktl.engine._streams import Streams, automatic_batch_size

from .fakes import FakeRecipe, make_part, make_rows


def sums(tensors):
    """Stand in for a network: one number for each image."""
    return np.array([[float(t.sum())] for t in tensors], dtype=np.float32)


def hand_out(n, size):
    """Yield the positions 0 to n, a few at a time."""
    for start in range(0, n, size):
        yield list(range(start, min(start + size, n)))


WAYS = {
    "one stream": {},
    "streams": {"n_streams": 3},
    "decoders": {"n_decoders": 3},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_every_row_its_own_value(way):
    rows = make_rows(100, bad=[7, 50])
    streams = Streams(rows, make_part(), sums, 9, **WAYS[way])
    values, unreadable = {}, []
    for batch in streams.run(hand_out(100, 9)):
        unreadable += [position for position, _ in batch.unreadable]
        if batch.values is not None:
            values.update(zip(batch.positions, batch.values[:, 0], strict=True))
    assert sorted(unreadable) == [7, 50]
    assert values == {i: rows.images[i].sum() for i in range(100) if i not in (7, 50)}


@pytest.mark.parametrize("way", WAYS)
def test_an_error_in_the_network_is_raised_and_ends_all_threads(way):
    calls = []

    def fails(tensors):
        calls.append(len(tensors))
        if len(calls) > 1:
            raise RuntimeError("broken network")
        return sums(tensors)

    before = threading.active_count()
    streams = Streams(make_rows(200), make_part(), fails, 8, **WAYS[way])
    with pytest.raises(RuntimeError, match="broken network"):
        list(streams.run(hand_out(200, 8)))
    assert threading.active_count() == before


@pytest.mark.parametrize("way", WAYS)
def test_leaving_early_ends_all_threads(way):
    before = threading.active_count()
    streams = Streams(make_rows(200), make_part(), sums, 8, **WAYS[way])
    batches = streams.run(hand_out(200, 8))
    next(batches)
    batches.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory"),
    ],
    ids=["cuda", "mps"],
)
def test_out_of_memory_halves_the_batch_and_goes_on_with_one_warning(error):
    sizes = []

    def small_gpu(tensors):
        sizes.append(len(tensors))
        if len(tensors) > 5:
            raise error
        return sums(tensors)

    rows = make_rows(64)
    streams = Streams(rows, make_part(), small_gpu, 32, n_decoders=1)
    with pytest.warns(RuntimeWarning, match="halved") as record:
        batches = list(streams.run(hand_out(64, 16)))
    assert len(record) == 1
    values = np.concatenate([batch.values for batch in batches])[:, 0]
    np.testing.assert_array_equal(values, rows.images.sum(axis=(1, 2, 3)))
    assert max(sizes[-8:]) == 4  # it stays small


def test_out_of_memory_for_a_single_image_is_raised():
    def no_gpu(tensors):
        raise torch.OutOfMemoryError("CUDA out of memory")

    streams = Streams(make_rows(4), make_part(), no_gpu, 4, n_decoders=1)
    with pytest.warns(RuntimeWarning), pytest.raises(torch.OutOfMemoryError):
        list(streams.run(hand_out(4, 4)))


def test_automatic_batches_are_small_on_a_cpu_and_large_on_a_gpu():
    def batch(size, device):
        return automatic_batch_size(make_part(recipe=FakeRecipe((size, size))), device)

    assert batch(224, "cpu") == 8
    assert batch(64, "cpu") == 32
    assert batch(600, "cpu") == 4
    assert batch(224, "cuda:0") == 256
