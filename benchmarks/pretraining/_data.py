"""Read MNIST and Tiny ImageNet in the layouts in which they are published."""

from __future__ import annotations

import gzip
import io
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64


def _read_idx(path: Path) -> np.ndarray:
    """Read one file of the idx format, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        n_dims = struct.unpack(">BBBB", file.read(4))[3]
        shape = struct.unpack(f">{n_dims}I", file.read(4 * n_dims))
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


def load_mnist(path: str | Path) -> dict[str, np.ndarray]:
    """Return MNIST as ``x_train, y_train, x_test, y_test``.

    Parameters
    ----------
    path : str or Path
        ``mnist.npz`` (as Keras ships it), or a folder with the four idx files,
        gzipped or not.

    Returns
    -------
    dict of str to ndarray
        uint8 images ``(n, 28, 28)`` and int64 labels.
    """
    path = Path(path)
    if path.is_dir() and (path / "mnist.npz").exists():
        path = path / "mnist.npz"
    if path.is_file():
        with np.load(path) as arrays:
            data = {k: arrays[k] for k in ("x_train", "y_train", "x_test", "y_test")}
    else:
        data = {}
        for ours, theirs in (("train", "train"), ("test", "t10k")):
            for key, kind in (("x", "images"), ("y", "labels")):
                found = sorted(path.rglob(f"{theirs}-{kind}?idx*ubyte*"))
                if not found:
                    raise FileNotFoundError(f"No MNIST {theirs} {kind} under {path}.")
                data[f"{key}_{ours}"] = _read_idx(found[0])
    for key in ("y_train", "y_test"):
        data[key] = data[key].astype(np.int64)
    return data


def _shard_items(folder: Path) -> tuple[list[bytes], np.ndarray, list[str]]:
    """Read the npz shards: joined JPEG bytes, offsets and labels."""
    items, labels, names = [], [], None
    for shard in sorted(folder.glob("train*.npz")):
        with np.load(shard, allow_pickle=False) as arrays:
            jpeg, offset = arrays["jpeg"].tobytes(), arrays["offset"]
            labels.append(arrays["y"].astype(np.int64))
            names = [str(name) for name in arrays["wnid"]]
        items += [jpeg[a:b] for a, b in pairwise(offset)]
    return items, np.concatenate(labels), names


def _folder_items(folder: Path) -> tuple[list[Path], np.ndarray, list[str]]:
    """List the published folder: ``train/<wnid>/images/*.JPEG``."""
    root = folder / "train" if (folder / "train").is_dir() else folder
    names = sorted(p.name for p in root.iterdir() if p.is_dir())
    items, labels = [], []
    for label, name in enumerate(names):
        files = sorted((root / name).rglob("*.JPEG"))
        items += files
        labels += [label] * len(files)
    return items, np.asarray(labels, np.int64), names


def load_tiny_imagenet(
    path: str | Path, cache: str | Path
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the training images of Tiny ImageNet, decoded once.

    Parameters
    ----------
    path : str or Path
        The published folder (``train/<wnid>/images/*.JPEG``) or a folder of npz
        shards ``train*.npz`` with the keys ``jpeg, offset, y, wnid``.
    cache : str or Path
        Folder for the decoded array (1.2 GB). It is memory-mapped, so that several
        runs share its pages.

    Returns
    -------
    images : numpy.memmap of shape (n, 64, 64, 3) and dtype uint8
    labels : ndarray of shape (n,) and dtype int64
    names : list of str
        The WordNet identifiers.
    """
    folder, cache = Path(path), Path(cache)
    done = cache / "tiny_imagenet.json"
    if not done.exists():
        cache.mkdir(parents=True, exist_ok=True)
        shards = any(folder.glob("train*.npz"))
        items, labels, names = (_shard_items if shards else _folder_items)(folder)
        if not len(items):
            raise FileNotFoundError(f"No Tiny ImageNet images under {folder}.")
        images = np.lib.format.open_memmap(
            cache / "images.npy", "w+", np.uint8, (len(items), SIDE, SIDE, 3)
        )

        def decode(i: int) -> None:
            source = items[i]
            source = io.BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(source) as image:
                images[i] = np.asarray(image.convert("RGB"))

        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(decode, range(len(items)), chunksize=256):
                pass
        images.flush()
        np.save(cache / "labels.npy", labels)
        # Written last: a killed run leaves no file that looks finished.
        done.write_text(json.dumps(names))
    return (
        np.load(cache / "images.npy", mmap_mode="r"),
        np.load(cache / "labels.npy"),
        json.loads(done.read_text()),
    )


def stratified_holdout(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers into a training and a held-out part, class by class."""
    rng = np.random.default_rng(seed)
    held_out = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        held_out.append(rng.permutation(rows)[: round(fraction * len(rows))])
    held_out = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out
