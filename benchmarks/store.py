"""The store: rows written, read and hashed per second, by one process and by four.

Run with: python benchmarks/store.py
"""

import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from _frame import arguments, host, publish, summary
from blake3 import blake3

from sktl.store._store_folder import StoreFolder

WIDTH = 512
BATCH = 8
CLAIMED_BATCHES = 8


def keys_and_rows(seed, n):
    """Return ``n`` random keys and rows."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, WIDTH), dtype=np.float32)
    return {rng.bytes(32): row.copy() for row in values}


def write(folder, seed, n, lasting):
    """Claim and store rows batch by batch, as the engine does; return seconds."""
    rows = keys_and_rows(seed, n)
    store = StoreFolder(folder, lasting=lasting)
    keys, ahead = list(rows), CLAIMED_BATCHES * BATCH
    computed, again_at = [], 0.0
    start = time.perf_counter()
    with store.claims() as claims:
        for first in range(0, n, ahead):
            mine = claims.take(keys[first : first + ahead])
            assert not store.read(mine)
            for i in range(0, len(mine), BATCH):
                computed += mine[i : i + BATCH]
                if time.perf_counter() >= again_at:
                    began = time.perf_counter()
                    store.write({key: rows[key] for key in computed})
                    claims.release(computed)
                    computed, ended = [], time.perf_counter()
                    again_at = ended + 4 * (ended - began)
        store.write({key: rows[key] for key in computed})
    seconds = time.perf_counter() - start
    store.close()
    return seconds


def read(folder, seed, n, lasting):
    """Read rows back from the file; return seconds."""
    keys = list(keys_and_rows(seed, n))
    store = StoreFolder(folder, lasting=lasting)
    start = time.perf_counter()
    found = store.read(keys)
    seconds = time.perf_counter() - start
    assert len(found) == n
    start = time.perf_counter()
    store.read(keys)
    in_memory = time.perf_counter() - start
    store.close()
    return seconds, in_memory


def main():
    """Measure, and print rows per second."""
    args = arguments(__doc__)
    n = int(4000 * args.share)
    before = host()
    rates: dict[str, list[float]] = {}
    size = 0.0

    def note(name, rate):
        rates.setdefault(name, []).append(rate)

    with ProcessPoolExecutor(4) as pool:
        list(pool.map(keys_and_rows, range(4), [1] * 4))
        for round_ in range(-1, args.repeats):
            for lasting in (False, True):
                folder = tempfile.mkdtemp()
                kind = "lasting" if lasting else "session"
                seconds = write(folder, 0, n, lasting)
                disk, memory = read(folder, 0, n, lasting)
                (path,) = Path(folder).glob("rows*.sqlite")
                size = path.stat().st_size / n
                start = time.perf_counter()
                some = [n // 4] * 4
                list(pool.map(write, [folder] * 4, range(1, 5), some, [lasting] * 4))
                four = time.perf_counter() - start
                start = time.perf_counter()
                list(pool.map(read, [folder] * 4, range(1, 5), some, [lasting] * 4))
                four_read = time.perf_counter() - start
                shutil.rmtree(folder)
                if round_ >= 0:
                    note(f"{kind}: rows/s claimed and written", n / seconds)
                    note(f"{kind}: rows/s read from disk", n / disk)
                    note(f"{kind}: rows/s read from memory", n / memory)
                    note(f"{kind}: rows/s written by 4 processes together", n / four)
                    note(f"{kind}: rows/s read by 4 processes together", n / four_read)
            block = np.random.default_rng(0).bytes(96 * 96 * 3)
            start = time.perf_counter()
            for _ in range(2000):
                blake3(block).digest(16)
            if round_ >= 0:
                rate = 2000 * len(block) / (time.perf_counter() - start) / 1e9
                note("GB/s of pixels hashed", rate)
    rows = [{"what": name, "rate": summary(values)} for name, values in rates.items()]
    rows.append({"what": "bytes on disk for a row of 2048", "rate": size})
    notes = [
        f"{n} rows of {WIDTH} numbers, in batches of {BATCH}, four processes sharing "
        "them. 'lasting' survives a power cut, 'session' a kill.",
    ]
    publish("store", rows, notes, args, before)


if __name__ == "__main__":
    main()
