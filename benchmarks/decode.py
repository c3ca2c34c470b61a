"""Time what happens between a file and a network: decoding, resizing, cropping.

Run from the repository root::

    python benchmarks/decode.py

It uses one thread and photographs of 500 x 375 pixels as JPEG (synthetic, or from the
folder ``--images``). The ways to prepare an image take turns, image by image. The clock
is the CPU time of the thread, so other work on the machine does not count. Prints a
table and writes ``benchmarks/results/decode.json``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

import sktl
from sktl.images import ImageRows, Recipe

RESULTS = Path(__file__).parent / "results" / "decode.json"
RECIPE = Recipe(size=(224, 224), resize=256)
BICUBIC = Recipe(size=(224, 224), resize=256, interpolation="bicubic")


def photographs(folder: str, n: int, size: tuple[int, int]) -> list[str]:
    """Write JPEG files with the detail of a photograph: smooth, edges, some noise."""
    rng = np.random.default_rng(0)
    width, height = size
    paths = []
    for i in range(n):
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        noise = rng.normal(0, 7, (height, width, 1))
        pixels = (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)
        paths.append(os.path.join(folder, f"{i}.jpg"))
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def ways() -> dict:
    """Return the ways to prepare an image, by name: functions of path and pixels."""
    preset = ImageClassification(crop_size=224)

    def usual(path, pixels):
        with Image.open(path) as image:
            return preset(image.convert("RGB"))

    def ours(path, pixels):
        return ImageRows.of([path]).prepare(0, RECIPE)

    def ours_normalised(path, pixels):
        return RECIPE.normalise(ImageRows.of([path]).prepare(0, RECIPE)[None])

    def pillow_resize(path, pixels):
        image = resize(Image.fromarray(pixels), 256)
        return pil_to_tensor(center_crop(image, 224))

    def decode_pillow(path, pixels):
        with Image.open(path) as image:
            return np.array(image)

    return {
        "PIL + torchvision preset (the usual way)": usual,
        "sktl prepare + normalise": ours_normalised,
        "sktl prepare": ours,
        "  decode: sktl (bytes, EXIF, checks)": lambda path, pixels: ImageRows.of(
            [path]
        )[0],
        "  decode: plain PIL": decode_pillow,
        "  resize + crop: torchvision on PIL": pillow_resize,
        "  resize + crop: sktl, uint8 bilinear": lambda path, pixels: ImageRows.of(
            [pixels]
        ).prepare(0, RECIPE),
        "  resize + crop: sktl, uint8 bicubic": lambda path, pixels: ImageRows.of(
            [pixels]
        ).prepare(0, BICUBIC),
        "  resize + crop: sktl, float32 bilinear": lambda path, pixels: ImageRows.of(
            [pixels / np.float32(255)]
        ).prepare(0, RECIPE),
        "fingerprint of a file, first time": lambda path, pixels: ImageRows.of(
            [Path(path).read_bytes()]
        ).fingerprint(0),
        "fingerprint of a file, remembered": lambda path, pixels: ImageRows.of(
            [path]
        ).fingerprint(0),
    }


def measure(paths: list[str], repeats: int) -> dict[str, list[float]]:
    """Return the milliseconds of every way, for every image and repeat."""
    for path in paths:
        os.utime(path, (1e9, 1e9))  # old enough to be remembered
    pixels = {path: ImageRows.of([path])[0] for path in paths}
    methods = ways()
    times: dict[str, list[float]] = {name: [] for name in methods}
    for repeat in range(-1, repeats):  # one round to warm up
        for path in paths:
            for name, method in methods.items():
                start = time.thread_time()
                method(path, pixels[path])
                if repeat >= 0:
                    times[name].append(1e3 * (time.thread_time() - start))
    return times


def grey_levels_apart(paths: list[str]) -> dict[str, dict[str, float]]:
    """Return how far prepared pixels are from torchvision's, in grey levels."""
    apart = {}
    for recipe in (RECIPE, BICUBIC):
        differences = []
        for path in paths:
            with Image.open(path) as image:
                mode = getattr(
                    torchvision.transforms.InterpolationMode,
                    recipe.interpolation.upper(),
                )
                theirs = resize(image.convert("RGB"), 256, interpolation=mode)
                theirs = pil_to_tensor(center_crop(theirs, 224)).int()
            ours = ImageRows.of([path]).prepare(0, recipe).int()
            differences.append((ours - theirs).abs())
        difference = torch.stack(differences)
        apart[recipe.interpolation] = {
            "max": int(difference.max()),
            "share_equal": round(float((difference == 0).float().mean()), 6),
        }
    return apart


def time_of_rows(n: int = 50_000) -> float:
    """Return how many milliseconds it takes to read a list of n paths as rows."""
    X = [f"{i}.jpg" for i in range(n)]
    times = []
    for _ in range(7):
        start = time.thread_time()
        ImageRows.of(X)
        times.append(1e3 * (time.thread_time() - start))
    return float(np.median(times))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", help="a folder of JPEG files to use instead")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.images:
            source = sorted(Path(arguments.images).rglob("*.jpg"))[:20]
            paths = []
            for i, path in enumerate(source):
                paths.append(os.path.join(folder, f"{i}.jpg"))
                Path(paths[-1]).write_bytes(path.read_bytes())
        else:
            paths = photographs(folder, 12, (500, 375))
        times = measure(paths, arguments.repeats)
        apart = grey_levels_apart(paths)
    table = {}
    for name, milliseconds in times.items():
        low, median, high = np.percentile(milliseconds, [25, 50, 75])
        table[name.strip()] = {
            "median_ms": round(float(median), 4),
            "quartiles_ms": [round(float(low), 4), round(float(high), 4)],
        }
    usual = table["PIL + torchvision preset (the usual way)"]["median_ms"]
    print(
        f"{'CPU ms per image, one thread':<46}"
        f"{'median':>9}{'quartiles':>18}{'ratio':>8}"
    )
    for name in times:
        row = table[name.strip()]
        low, high = row["quartiles_ms"]
        median = row["median_ms"]
        print(f"{name:<46}{median:9.3f}{low:10.3f} -{high:6.3f}{usual / median:8.1f}")
    print("Grey levels from torchvision on PIL images:", apart)
    of_paths = time_of_rows()
    print(f"ImageRows.of(50,000 paths): {of_paths:.1f} ms")
    result = {
        "benchmark": "decode",
        "date": datetime.date.today().isoformat(),
        "host": {
            "cpu_count": os.cpu_count(),
            "machine": platform.machine(),
            "threads": 1,
        },
        "versions": {
            "python": platform.python_version(),
            "sktl": sktl.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "numpy": np.__version__,
        },
        "images": "a folder" if arguments.images else "12 synthetic JPEG, 500 x 375",
        "clock": "CPU time of one thread",
        "repeats": arguments.repeats,
        "results": table,
        "grey_levels_from_reference": apart,
        "image_rows_of_50000_paths_ms": round(of_paths, 2),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
