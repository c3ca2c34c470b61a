"""Rows computed as the engine does it, in this process or in one of their own.

``writer.py FOLDER START N DELAY`` prints the number of each row once it is stored.
"""

import sys
import time

import numpy as np

from sktl.store import EmbeddingStore, open_store


def key(i):
    return i.to_bytes(32, "little")


def row(i):
    return np.random.default_rng(i).standard_normal(300).astype(np.float32)


def compute(cache, numbers, delay=0.0):
    """Yield the numbers of the rows that nobody else computes or has stored."""
    store = open_store(cache)
    with store.claims() as claims:
        for first in range(0, len(numbers), 4):
            mine = claims.take([key(i) for i in numbers[first : first + 4]])
            time.sleep(delay)
            found = store.read(mine)
            mine = [k for k in mine if k not in found]
            fresh = [int.from_bytes(k, "little") for k in mine]
            store.write({key(i): row(i) for i in fresh})
            claims.release(mine)
            yield from fresh


def main(folder, start, n, delay):
    numbers = range(int(start), int(start) + int(n))
    for i in compute(EmbeddingStore(folder), numbers, float(delay)):
        print(i, flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
