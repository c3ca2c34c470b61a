"""The images named on the command line, with and without classes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sktl.cli._terminal import CommandError
from sktl.datasets import list_images, load_image_folder
from sktl.exceptions import ImageInputError, UnreadableImageError
from sktl.images import ImageRows

# With 18 of 20 right, the 95 % interval of the accuracy is 0.68 to 0.99.
_MIN_IMAGES = 20


@dataclass
class LabelledImages:
    """Images with the names of their classes; test images only from a test folder."""

    paths: np.ndarray
    y: np.ndarray
    test_paths: np.ndarray
    test_y: np.ndarray
    skipped: list[str]  # not images
    unreadable: list[str]  # left out


def load_labelled(
    folder: Path, per_class: int | None, skip_unreadable: bool, seed: int
) -> LabelledImages:
    """Load a folder of classes, or a part of it."""
    data = load_image_folder(folder)
    is_test = np.zeros(len(data.paths), dtype=bool)
    if "train" in data:
        is_test = data.split == "test"
    chosen = np.arange(len(data.paths))
    if per_class is not None:
        rng = np.random.default_rng(seed)
        parts = [
            rng.permutation(np.flatnonzero((is_test == test) & (data.target == code)))
            for test in (False, True)
            for code in range(len(data.target_names))
        ]
        chosen = np.sort(np.concatenate([part[:per_class] for part in parts]))
    bad = np.zeros(len(chosen), dtype=bool)
    if skip_unreadable:
        bad = cannot_be_read(data.paths[chosen])
    unreadable, chosen = data.paths[chosen[bad]].tolist(), chosen[~bad]
    train, test = chosen[~is_test[chosen]], chosen[is_test[chosen]]
    labels = np.array(data.target_names)[data.target]
    return LabelledImages(
        *(data.paths[train], labels[train], data.paths[test], labels[test]),
        *(list(data.skipped), unreadable),
    )


def check_enough(folder: Path, y: np.ndarray, folds: int) -> None:
    """Refuse one class, too few images, and a class too small for the folds."""
    classes, counts = np.unique(y, return_counts=True)
    smallest = str(classes[counts.argmin()])
    if len(classes) < 2:
        raise CommandError(
            f"{str(folder)!r} holds only one class ({smallest!r}). Add a folder with "
            "images of another class."
        )
    if len(y) < _MIN_IMAGES:
        raise CommandError(
            f"{str(folder)!r} holds {len(y)} images in all, too few to tell a good "
            f"model from luck. Add images: at least {_MIN_IMAGES}, better 50 per class."
        )
    if counts.min() < folds:
        raise CommandError(
            f"The class {smallest!r} has {counts.min()} images, fewer than the {folds} "
            "folds of the cross-validation. Add images, or pass a smaller --cv."
        )


def find_images(arguments: Iterable[Path]) -> list[str]:
    """Return the images named, with all those in the folders named."""
    paths: list[str] = []
    for path in arguments:
        if not path.exists():
            raise CommandError(f"There is no file or folder {str(path)!r}.")
        found = list_images(path) if path.is_dir() else [str(path)]
        if not found:
            raise CommandError(f"The folder {str(path)!r} holds no images.")
        paths += found
    return paths


def labels_of(arguments: list[Path], paths: list[str]) -> list[str] | None:
    """Return the classes of images if one folder of classes was named."""
    if len(arguments) != 1 or not arguments[0].is_dir():
        return None
    try:
        data = load_image_folder(arguments[0])
    except ImageInputError:
        return None
    names = np.array(data.target_names)[data.target].tolist()
    label = dict(zip(data.paths, names, strict=True))
    return [label[path] for path in paths] if set(paths) <= set(label) else None


def blocks(paths: list[str], size: int) -> Iterator[np.ndarray]:
    """Yield paths in arrays of at most ``size``."""
    for start in range(0, len(paths), size):
        yield np.array(paths[start : start + size], dtype=object)


def cannot_be_read(paths) -> np.ndarray:
    """Return a mask of the images that cannot be decoded."""
    rows = ImageRows.of(np.asarray(paths, dtype=object))

    def fails(i: int) -> bool:
        try:
            rows[i]
        except UnreadableImageError:
            return True
        return False

    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        return np.fromiter(pool.map(fails, range(len(rows))), bool, len(rows))
