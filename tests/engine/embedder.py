"""A process that embeds: ``embedder.py CACHE N SEED DELAY`` prints what it did.

With DELAY every image takes that long to decode, and work begins at the first line of
input, so that processes really meet.
"""

import json
import sys
import time

from sktl.engine import activations, images_embedded

from .fakes import FakeRows, make_part, make_rows


class SlowRows(FakeRows):
    """Rows that take their time."""

    delay = 0.0

    def prepare(self, i, recipe, value_range=None):
        time.sleep(self.delay)
        return super().prepare(i, recipe, value_range)


def main(cache, n, seed, delay):
    rows = SlowRows(make_rows(int(n), seed=int(seed)).images)
    rows.delay = float(delay)
    part = make_part()
    if rows.delay:
        part.backbone.load()
        print("ready", flush=True)
        sys.stdin.readline()
    values = activations(rows, part, cache=cache, batch_size=4)
    torch = "torch" in sys.modules
    print(json.dumps([images_embedded(), float(values.sum()), torch]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
