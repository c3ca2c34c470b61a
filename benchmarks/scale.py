"""Scale: time per image and peak memory for 1,000, 10,000 and 100,000 image files.

Run with: python benchmarks/scale.py
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _frame import arguments, host, publish
from PIL import Image

EMBED = """
import json, os, resource, sys, time
from pathlib import Path
from sktl import PretrainedFeatures
paths = sorted(Path(sys.argv[1]).rglob("*.png"))[: int(sys.argv[2])]
cache = None if sys.argv[3] == "None" else sys.argv[3]
features = PretrainedFeatures("lenet5", cache=cache).fit(paths[:8])
features.transform(paths[:64])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.perf_counter()
out = features.transform(paths)
seconds = time.perf_counter() - start
print(json.dumps([seconds, before, peak(), out.nbytes / 2**20]))
"""


def make_files(folder, n):
    """Write ``n`` small images, a thousand to a folder."""
    rng = np.random.default_rng(0)
    for start in range(0, n, 1000):
        part = folder / f"{start:06}"
        part.mkdir()
        images = rng.integers(0, 256, (min(1000, n - start), 28, 28), dtype=np.uint8)
        for i, image in enumerate(images):
            Image.fromarray(image).save(part / f"{i:03}.png", compress_level=1)


def main():
    """Measure each size in its own process."""
    args = arguments(__doc__)
    sizes = [int(n * args.share) for n in (1000, 10_000, 100_000)]
    before, rows = host(), []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        images.mkdir()
        make_files(images, sizes[-1])
        for n in sizes:
            for cache in ("None", f"{folder}/store-{n}"):
                for state in ("cold", "warm") if cache != "None" else ("no cache",):
                    done = subprocess.run(
                        [sys.executable, "-c", EMBED, str(images), str(n), cache],
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    seconds, _, peak, output = json.loads(done.stdout)
                    rows.append(
                        {
                            "images": n,
                            "store": state,
                            "us per image": 1e6 * seconds / n,
                            "peak MB": peak,
                            "peak less output MB": peak - output,
                            "output MB": output,
                        }
                    )
    notes = [
        "PNG files of 28 px through lenet5, the smallest network: decoding, hashing "
        "and storing weigh most here. One process for each line; the peak is that of "
        "the whole process, torch included.",
    ]
    publish("scale", rows, notes, args, before)


if __name__ == "__main__":
    main()
