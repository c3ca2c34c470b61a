"""Sets of labelled images for studies of heads, and their embeddings.

Real images are in the folder that ``SKTL_TEST_DATA`` names. More sets are folders of
class folders, given on the command line. Of each set at most ``MOST`` images of at most
``MOST_CLASSES`` classes are taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from sktl import EmbeddingStore, PretrainedFeatures
from sktl.backbones import get_backbone

MOST, MOST_CLASSES = 800, 40
ENDINGS = {".jpg", ".jpeg", ".png", ".pgm", ".tif", ".bmp"}
BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "squeezenet1_0", "pocket")


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


def embed(
    backbone: str, images: list, store: Path | None, layers: bool = False
) -> np.ndarray:
    """Return the embeddings of images, or the averages of all stages side by side."""
    data = Path(os.environ.get("SKTL_TEST_DATA", "."))
    weights = "default"
    if backbone == "squeezenet1_0":
        weights = str(data / "weights" / "squeezenet1_0-imagenet.pth")
    stages = [name for name in get_backbone(backbone).stages if name != "pool"]
    features = PretrainedFeatures(
        backbone,
        weights=weights,
        layers=stages if layers else None,
        cache="session" if store is None else EmbeddingStore(store),
    )
    return features.fit(images).transform(images)


def draws(
    y: np.ndarray, per_class: int | None, n_draws: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and test rows: half of each class is for the test.

    ``per_class`` of the other half are labelled; None means all. Nothing is yielded
    if a class has fewer.
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
