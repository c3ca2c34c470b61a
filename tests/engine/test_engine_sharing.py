"""Several processes and threads that meet the same images divide the work."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sktl.engine import activations, images_embedded
from sktl.exceptions import UnreadableImageWarning
from sktl.store import EmbeddingStore, open_store

from .fakes import FakeRows, make_part, make_rows

EMBEDDER = Path(__file__).with_name("embedder.py")


def start_embedder(cache, n, seed=0, delay=0.0):
    arguments = map(str, [cache, n, seed, delay])
    return subprocess.Popen(
        [sys.executable, str(EMBEDDER), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def go(*processes):
    """Let processes with a delay begin, all at once."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def outcome(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize("cache", ["session", "folder"])
def test_processes_compute_each_image_once_between_them(tmp_path, cache):
    cache = str(tmp_path / "store") if cache == "folder" else cache
    processes = [start_embedder(cache, 120, delay=0.01) for _ in range(2)]
    go(*processes)
    counts, sums, _ = zip(*map(outcome, processes), strict=True)
    assert sum(counts) == 120
    assert min(counts) > 12  # both took part
    assert sums[0] == sums[1]


def test_a_process_that_is_killed_leaves_its_share_to_the_other(tmp_path):
    cache = str(tmp_path / "store")
    first = start_embedder(cache, 80, delay=0.02)
    go(first)
    store = EmbeddingStore(cache)
    while store.info()["rows"] < 8:
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = store.info()["rows"]
    start = time.monotonic()
    before = images_embedded()
    activations(make_rows(80), make_part(), cache=cache)
    assert images_embedded() - before == 80 - done
    assert time.monotonic() - start < 45  # not until the claims expire


def test_a_worker_needs_no_torch_when_all_rows_are_stored(tmp_path):
    cache = str(tmp_path / "store")
    expected = activations(make_rows(30), make_part(), cache=cache)
    count, total, torch = outcome(start_embedder(cache, 30))
    assert count == 0
    assert total == pytest.approx(float(expected.sum()))
    assert not torch


def test_threads_compute_each_image_once_between_them():
    rows, part = make_rows(200), make_part()
    before = images_embedded()
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(lambda _: activations(rows, part, batch_size=4), range(4))
        )
    assert images_embedded() - before == 200
    for values in results[1:]:
        np.testing.assert_array_equal(values, results[0])


def test_interrupt_keeps_what_was_computed_and_leaves_no_thread():
    class InterruptedRows(FakeRows):
        def prepare(self, i, recipe, value_range=None):
            if i == 60:
                raise KeyboardInterrupt
            return super().prepare(i, recipe, value_range)

    images, part = make_rows(100).images, make_part()
    before, threads = images_embedded(), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        activations(InterruptedRows(images), part, batch_size=4)
    done = images_embedded() - before
    assert done > 0
    assert threading.active_count() == threads
    activations(FakeRows(images), part, batch_size=4)
    assert images_embedded() - before == 100


def test_ctrl_c_ends_a_computation_soon(tmp_path):
    process = start_embedder(str(tmp_path / "store"), 2000, delay=0.02)
    go(process)
    store = EmbeddingStore(tmp_path / "store")
    while store.info()["rows"] < 8:
        time.sleep(0.01)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    assert time.monotonic() - start < 5
    assert process.returncode != 0


def test_torch_keeps_its_number_of_threads():
    import torch

    before = torch.get_num_threads()
    activations(make_rows(100), make_part(), cache=None, batch_size=4)
    assert torch.get_num_threads() == before


def test_claims_on_unreadable_rows_end_at_once(tmp_path):
    # Otherwise two calls that each met a broken image would wait for the other.
    store, part, taken = EmbeddingStore(tmp_path), make_part(), []

    class Watching(FakeRows):
        def prepare(self, i, recipe, value_range=None):
            if i == len(self) - 1:
                with open_store(store).claims() as claims:
                    taken.extend(claims.take([part.digest + self.fingerprint(0)]))
            return super().prepare(i, recipe, value_range)

    rows = Watching(make_rows(60).images, bad=[0])
    with pytest.warns(UnreadableImageWarning):
        activations(rows, part, cache=store, batch_size=4, on_error="nan")
    assert len(taken) == 1
