"""A process that embeds: ``embedder.py CACHE N SEED DELAY`` prints what it did.

With DELAY every image takes that long to decode, and work begins at the first line of
input, so that processes really meet.
"""

import json
import sys
import time

from sktl.engine import activations, images_embedded


def main(cache, n, seed, delay):
    from fakes import FakeRows, make_part, make_rows  # beside this script

    class SlowRows(FakeRows):
        def prepare(self, i, recipe, value_range=None):
            time.sleep(float(delay))
            return super().prepare(i, recipe, value_range)

    rows = SlowRows(make_rows(int(n), seed=int(seed)).images)
    part = make_part()
    if float(delay):
        part.backbone.load()
        print("ready", flush=True)
        sys.stdin.readline()
    values = activations(rows, part, cache=cache, batch_size=4)
    torch = "torch" in sys.modules
    print(json.dumps([images_embedded(), float(values.sum()), torch]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
