"""The images that a command line names, with and without classes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sktl.cli._failures import CommandError
from sktl.datasets import list_images, load_image_folder
from sktl.exceptions import ImageInputError, UnreadableImageError
from sktl.images import ImageRows

# Fewer cannot tell a good model from luck: with 20 images, of which 18 are recognised,
# the 95 % interval of the accuracy reaches from 0.68 to 0.99.
LEAST_IMAGES = 20


@dataclass
class Labelled:
    """Images with their classes.

    Parameters
    ----------
    folder : str
        Where they come from.
    paths, y : ndarray of object, ndarray of str
        The images to learn from and the names of their classes.
    test_paths, test_y : ndarray or None
        Those of a test split, where the folder has one.
    skipped : list of str
        Files that are no images by their name.
    unreadable : list of str
        Images that cannot be decoded and were left out.
    """

    folder: str
    paths: np.ndarray
    y: np.ndarray
    test_paths: np.ndarray | None = None
    test_y: np.ndarray | None = None
    skipped: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def find_images(named: Iterable[Path]) -> list[str]:
    """Return the images that are named: files as they are, folders with all in them."""
    paths: list[str] = []
    for path in named:
        if path.is_dir():
            found = list_images(path)
            if not found:
                raise CommandError(f"The folder {str(path)!r} holds no images.")
            paths += found
        elif path.exists():
            paths.append(str(path))
        else:
            raise CommandError(f"There is no file or folder {str(path)!r}.")
    if not paths:
        raise CommandError("No images are named. Name files or folders.")
    return paths


def labels_of(named: list[Path], paths: list[str]) -> list[str] | None:
    """Return the class folders of images, if one folder of classes was named."""
    if len(named) != 1 or not named[0].is_dir():
        return None
    try:
        data = load_image_folder(named[0])
    except ImageInputError:
        return None
    label = {
        path: data.target_names[code]
        for path, code in zip(data.paths, data.target, strict=True)
    }
    return [label[path] for path in paths] if set(paths) <= set(label) else None


def load_labelled(
    folder: Path,
    *,
    folds: int,
    per_class: int | None = None,
    skip_unreadable: bool = False,
    seed: int = 0,
) -> Labelled:
    """Load a folder of classes, and refuse what no model can be judged on."""
    data = load_image_folder(folder)
    names = np.array(data.target_names)
    if "train" in data:
        fit = np.isin(data.split, ["train", "val"])
        test = data.split == "test"
    else:
        fit = np.ones(len(data.paths), dtype=bool)
        test = ~fit
    found = Labelled(
        folder=str(folder),
        paths=data.paths[fit],
        y=names[data.target[fit]],
        skipped=list(data.skipped),
    )
    if test.any():
        found.test_paths, found.test_y = data.paths[test], names[data.target[test]]
    if per_class is not None:
        found = _some_of_each(found, per_class, seed)
    if skip_unreadable:
        found = _without_unreadable(found)
    _check(found, folds)
    return found


def chunks(paths: list, size: int) -> Iterator[np.ndarray]:
    """Yield paths in arrays of at most ``size``."""
    for start in range(0, len(paths), size):
        part = np.empty(min(size, len(paths) - start), dtype=object)
        part[:] = paths[start : start + size]
        yield part


def unreadable_among(paths) -> np.ndarray:
    """Return which images cannot be decoded, as a mask."""
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


def _some_of_each(data: Labelled, per_class: int, seed: int) -> Labelled:
    """Return at most ``per_class`` images of each class, drawn at random."""
    rng = np.random.default_rng(seed)

    def drawn(y):
        places = [np.flatnonzero(y == name) for name in np.unique(y)]
        return np.sort(
            np.concatenate([rng.permutation(own)[:per_class] for own in places])
        )

    chosen = drawn(data.y)
    data.paths, data.y = data.paths[chosen], data.y[chosen]
    if data.test_y is not None:
        chosen = drawn(data.test_y)
        data.test_paths, data.test_y = data.test_paths[chosen], data.test_y[chosen]
    return data


def _without_unreadable(data: Labelled) -> Labelled:
    """Return the images that can be decoded."""
    bad = unreadable_among(data.paths)
    data.unreadable += data.paths[bad].tolist()
    data.paths, data.y = data.paths[~bad], data.y[~bad]
    if data.test_paths is not None:
        bad = unreadable_among(data.test_paths)
        data.unreadable += data.test_paths[bad].tolist()
        data.test_paths, data.test_y = data.test_paths[~bad], data.test_y[~bad]
    return data


def _check(data: Labelled, folds: int) -> None:
    """Refuse one class, too few images, and a class too small for the folds."""
    names, counts = np.unique(data.y, return_counts=True)
    names = names.tolist()
    if len(names) < 2:
        raise CommandError(
            f"{data.folder!r} holds one class only ({', '.join(map(repr, names))}), so "
            "there is nothing to tell apart. Add a folder with images of another class."
        )
    if len(data.y) < LEAST_IMAGES:
        raise CommandError(
            f"{data.folder!r} holds {len(data.y)} images in all, too few to tell a "
            f"good model from luck. Add images: {LEAST_IMAGES} at least, 50 of each "
            "class are a good start."
        )
    if counts.min() < folds:
        raise CommandError(
            f"The class {names[counts.argmin()]!r} has {counts.min()} images, fewer "
            f"than the {folds} folds of the cross-validation. Add images of it, leave "
            "it out, or pass a smaller --cv."
        )
