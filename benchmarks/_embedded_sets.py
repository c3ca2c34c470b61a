"""Sets of labelled images for studies of heads, and their embeddings.

Real images are in the folder that ``SKTL_TEST_DATA`` names. More sets are folders of
class folders, given on the command line. Of each set at most ``MOST`` images of at most
``MOST_CLASSES`` classes are taken.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from sktl import PretrainedFeatures
from sktl.backbones import get_backbone

MOST, MOST_CLASSES = 800, 40
ENDINGS = {".jpg", ".jpeg", ".png", ".pgm", ".tif", ".bmp"}


def arguments(description: str, backbones: list[str]) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "folders", nargs="*", type=Path, help="more sets: folders of class folders"
    )
    parser.add_argument("--backbones", nargs="+", default=backbones)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder that keeps embeddings")
    return parser.parse_args()


def image_sets(folders: list[Path]) -> Iterator[tuple[str, list, np.ndarray]]:
    """Yield the name, the images and the labels of each set at hand."""
    if data := os.environ.get("SKTL_TEST_DATA"):
        folders = [Path(data) / "cats_vs_dogs", Path(data) / "eurosat", *folders]
        tiny = np.load(Path(data) / "tiny_imagenet" / "train0.npz")
        content, offset, y = tiny["jpeg"], tiny["offset"], tiny["y"]
        chosen = np.flatnonzero(y % 10 == 0)  # 20 of 200 classes
        jpegs = [content[offset[i] : offset[i + 1]].tobytes() for i in chosen]
        yield "tiny_imagenet", *_some(jpegs, y[chosen])
        digits = np.load(Path(data) / "mnist.npz")
        yield "mnist", *_some(list(digits["x_test"]), digits["y_test"])
    for folder in folders:
        paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in ENDINGS]
        names = np.array([path.parent.name for path in paths])
        yield folder.name, *_some(paths, names)


def _some(images: list, labels: np.ndarray) -> tuple[list, np.ndarray]:
    """Return as many images of each class, in a fixed random order."""
    classes = np.unique(labels)[:MOST_CLASSES]
    order = check_random_state(0).permutation(len(labels))
    rows = [order[labels[order] == value] for value in classes]
    taken = np.concatenate([r[: MOST // len(classes)] for r in rows])
    return [images[i] for i in taken], labels[taken]


def embedded_sets(
    backbone: str, sets: list[tuple[str, list, np.ndarray]], keep: Path | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the name of each set, the averages of all stages, embeddings and labels.

    The averages are an array for each stage. Only ``lenet5`` sees digits.
    """
    weights = "default"
    if backbone == "squeezenet1_0":
        data = Path(os.environ["SKTL_TEST_DATA"])
        weights = str(data / "weights" / "squeezenet1_0-imagenet.pth")
    stages = [name for name in get_backbone(backbone).stages if name != "pool"]
    for name, images, labels in sets:
        if (name == "mnist") != (backbone == "lenet5"):
            continue
        kept = None if keep is None else keep / f"{name}__{backbone}.npz"
        if kept is None or not kept.exists():
            features = PretrainedFeatures(backbone, weights=weights, cache=None)
            Z = features.fit_transform(images)
            features.set_params(layers=stages)
            A = features.fit_transform(images)
            columns = features.get_feature_names_out().astype(str)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                np.savez(kept, Z=Z, A=A, cols=columns)
        else:
            found = np.load(kept)
            Z, A, columns = found["Z"], found["A"], found["cols"]
        of_stage = [[f"_{s}_" in column for column in columns] for s in stages]
        yield name, [A[:, np.array(mine)] for mine in of_stage], Z, labels


def draws(
    y: np.ndarray, per_class: int | None, n_draws: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and test rows: half of each class is for the test.

    Of the other half ``per_class`` are labelled; None means all. Nothing is yielded if
    a class has fewer.
    """
    for seed in range(n_draws):
        random, train, test = check_random_state(seed), [], []
        for value in np.unique(y):
            rows = random.permutation(np.flatnonzero(y == value))
            half = len(rows) // 2
            if per_class is not None and half < per_class:
                return
            train.append(rows[: half if per_class is None else per_class])
            test.append(rows[half:])
        yield np.concatenate(train), np.concatenate(test)
