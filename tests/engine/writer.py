"""A process that stores rows until it is killed: ``writer.py FOLDER START N DELAY``.

It prints each key number once the row is stored. The engine's store is driven without
torch, so that it starts in a fraction of a second.
"""

import sys
import time

import numpy as np

from sktl.engine._owner import Owner
from sktl.engine._shelf import shelf_at


def key(i):
    return i.to_bytes(32, "little")


def row(i):
    return np.random.default_rng(i).standard_normal(300).astype(np.float32)


def main(folder, start, n, delay):
    shelf = shelf_at(folder, max_bytes=None, lasting=False)
    owner = Owner()
    for first in range(start, start + n, 4):
        numbers = range(first, first + 4)
        mine, _ = shelf.claim([key(i) for i in numbers], owner)
        time.sleep(delay)
        fresh = {key(i): row(i) for i in numbers if key(i) in mine}
        shelf.write(fresh, owner)
        print(*[int.from_bytes(k, "little") for k in fresh], flush=True)
    shelf.leave(owner)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
