"""Measure how many near copies of real images are found, and how many false ones.

From each set of images, every image gets one copy: resized, cropped, mirrored and so
on, four kinds at a time. ``duplicate_pairs`` searches them at its default threshold.
Every pair that is not an image with its copy counts as false.

For comparison, vectors: the thumbnails that sktl used to correlate, a perceptual hash
(ImageHash, if installed), and embeddings by cosine. Each gets the lowest threshold
that leaves no false pair among these very images, which nobody could know beforehand.

Run with: python benchmarks/near_copies.py (reads ``SKTL_TEST_DATA``).
"""

import argparse
import io
import os
import time
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _frame import table, write_table
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from sklearn.preprocessing import normalize

from sktl import PretrainedFeatures
from sktl.model_selection import duplicate_pairs

DATA = Path(os.environ["SKTL_TEST_DATA"])
N_IMAGES, N_SCALE = 400, 10_000


def cropped(image, left, top, right, bottom):
    """Return an image without some of its edges, given in pixels."""
    return image.crop((left, top, image.width - right, image.height - bottom))


def share_cropped(image, *shares):
    """Return an image without some shares of its width and height."""
    sides = (image.width, image.height) * 2
    return cropped(
        image, *[round(p * side) for p, side in zip(shares, sides, strict=True)]
    )


def as_jpeg(image, quality):
    """Return an image as it is after JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def mirrored(image):
    """Return the mirror image."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def captioned(image):
    """Return an image with a white bar over half of its lower edge."""
    image, height = image.copy(), max(8, image.height // 12)
    bar = (0, image.height - height, image.width // 2, image.height)
    ImageDraw.Draw(image).rectangle(bar, fill="white")
    return image


COPIES = {
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "JPEG of quality 40": lambda image: as_jpeg(image, 40),
    "20 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "blurred (1 px)": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "mirrored": mirrored,
    "mirrored, cropped by 3 px, JPEG": lambda image: as_jpeg(
        cropped(mirrored(image), 3, 3, 3, 3), 75
    ),
    "rotated by 2 degrees": lambda image: image.rotate(2, Image.Resampling.BICUBIC),
    "cropped by 3 px": lambda image: cropped(image, 3, 3, 3, 3),
    "left 3 px cut off": lambda image: cropped(image, 3, 0, 0, 0),
    "cropped by 10 %": lambda image: share_cropped(image, 0.05, 0.05, 0.05, 0.05),
    "10 % cut off at a corner": lambda image: share_cropped(image, 0.1, 0.1, 0, 0),
    "captioned": captioned,
}


def images_of(name, n):
    """Return about ``n`` images of a set, spread over its classes."""
    if name == "tiny_imagenet":
        shard = np.load(DATA / name / "train0.npz")
        data, offset = shard["jpeg"], shard["offset"]
        files = [
            io.BytesIO(data[offset[i] : offset[i + 1]].tobytes())
            for i in np.linspace(0, len(offset) - 2, n).astype(int)
        ]
    elif name == "mnist":
        digits = np.load(DATA / "mnist.npz")["x_train"][:n]
        return [Image.fromarray(digit) for digit in digits]
    else:
        files = sorted((DATA / name / "train").glob("*/*.jpg"))
        files = [files[i] for i in np.linspace(0, len(files) - 1, n).astype(int)]
    return [Image.open(file).convert("RGB") for file in files]


def small_grey(images):
    """Return grey thumbnails of 24 x 24 without their brightness."""
    grey = [
        np.asarray(image.convert("L").resize((24, 24), Image.Resampling.BILINEAR))
        for image in images
    ]
    vectors = np.stack(grey).reshape(len(images), -1).astype(np.float32)
    return vectors - vectors.mean(axis=1, keepdims=True)


def perceptual_hashes(images):
    """Return the 64 bits of each image as -1 and 1."""
    from imagehash import phash

    return np.stack([phash(image).hash.ravel() * 2.0 - 1 for image in images])


def embeddings(images):
    """Return the embeddings of the default backbone."""
    return PretrainedFeatures().fit_transform([np.asarray(image) for image in images])


CONTENDERS = {"24 px thumbnails": small_grey}
if find_spec("imagehash"):
    CONTENDERS["perceptual hash"] = perceptual_hashes
CONTENDERS["embeddings"] = embeddings


def found_by_vectors(vectors):
    """Tell which copies are above the highest cosine of a false pair."""
    vectors = normalize(vectors)
    similar = vectors @ vectors.T
    n = len(vectors) // 2
    some = np.arange(n)
    of_copies = similar[some, some + n].copy()
    for rows, columns in ((some, some), (some, some + n), (some + n, some + n)):
        similar[rows, columns] = similar[columns, rows] = -1
    return of_copies > similar.max()


def measure(name, n, contenders):
    """Return one row for each kind of copy, and the false pairs by kind."""
    images = images_of(name, n)
    n = len(images)
    rows, false = [], Counter()
    for first in range(0, len(COPIES), 4):
        kinds = list(COPIES)[first : first + 4]
        copies = [COPIES[kinds[i % 4]](image) for i, image in enumerate(images)]
        both = [*images, *copies]
        pairs = duplicate_pairs([np.asarray(image) for image in both])
        found = {p.first: p.kind for p in pairs if p.second == p.first + n}
        false.update(
            kinds[p.second % n % 4] if p.second >= n else "no copy"
            for p in pairs
            if p.second != p.first + n
        )
        others = {
            label: found_by_vectors(vectors(both))
            for label, vectors in contenders.items()
        }
        for at, kind in enumerate(kinds):
            these = range(at, n, 4)
            named = Counter(found[i] for i in these if i in found)
            row = {
                "images": name,
                "copies": kind,
                "n": len(these),
                "found": 100 * sum(named.values()) / len(these),
                "called": ", ".join(f"{k} {v}" for k, v in named.most_common()),
            }
            for label, hits in others.items():
                row[label] = 100 * float(hits[at::4].mean())
            rows.append(row)
        print(table(rows[-4:]), f"\nfalse pairs: {dict(false)}", flush=True)
    return rows, false


def search_alone(name, n):
    """Return what is found among the images of a set, and in what time."""
    images = [np.asarray(image) for image in images_of(name, n)]
    start, cpu = time.perf_counter(), time.process_time()
    pairs = duplicate_pairs(images)
    found = {
        "images": name,
        "n": len(images),
        "pairs": [[*pair[:3], round(pair.similarity, 4)] for pair in pairs],
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "seconds": round(time.perf_counter() - start, 1),
    }
    print({**found, "pairs": len(pairs)}, flush=True)
    return found


def main():
    """Search copies of three sets, and large sets without copies of ours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    quick = parser.parse_args().quick
    n_images, n_scale = (100, 200) if quick else (N_IMAGES, N_SCALE)
    warnings.simplefilter("ignore")
    rows, false = [], {}
    for name in ("cats_vs_dogs", "eurosat", "tiny_imagenet"):
        found, false[name] = measure(name, n_images, CONTENDERS)
        rows += found
    alone = [
        search_alone(name, min(n, n_scale))
        for name, n in (
            ("cats_vs_dogs", 2000),
            ("eurosat", 1000),
            ("mnist", 200),
            ("mnist", N_SCALE),
            ("tiny_imagenet", N_SCALE),
        )
    ]
    print(table(rows))
    if not quick:
        packages = ("sktl", "torch", "numpy", "pillow")
        write_table("near_copies", rows, packages, false_pairs=false, alone=alone)


if __name__ == "__main__":
    main()
