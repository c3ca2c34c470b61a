"""Does early stopping help? Fine-tuning on few labels, compared with its probe.

Four real sets, two backbones, five draws of the training images. Each draw fits the
probe to all rows (``max_epochs=0``), the default, and ``early_stopping=True``; all
other parameters are defaults, except that digits are cropped but not mirrored. Images
are small, because the question is about few labels, not about the best accuracy.

The folder holds ``cats_vs_dogs/``, ``eurosat/``, ``mnist.npz``, ``tiny_imagenet/`` with
``train0.npz`` and ``train1.npz``, and ``weights/squeezenet1_0-imagenet.pth``.

Run with: SKTL_TEST_DATA=<folder> python benchmarks/study_early_stopping.py
"""

import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from _frame import RESULTS, table, write_table

from sktl import FineTunedClassifier
from sktl.datasets import load_image_folder

DATA = Path(os.environ.get("SKTL_TEST_DATA", "data"))
WEIGHTS = str(DATA / "weights" / "squeezenet1_0-imagenet.pth")
BACKBONES = {
    "squeezenet1_0": {"backbone": "squeezenet1_0", "weights": WEIGHTS},
    "pocket": {"backbone": "pocket", "image_size": 48},
}
SETS = {
    "cats_vs_dogs": {"image_size": 80},
    "eurosat": {"image_size": 64},
    "mnist": {"image_size": 48, "augment": {"crop": 0.75}},
    "tiny_imagenet": {"image_size": 64},
}
WAYS = {
    "probe": {"max_epochs": 0},
    "default": {},
    "early stopping": {"early_stopping": True},
}
N_TRAIN, N_TEST, N_DRAWS = 200, 1000, 5
FIRST_OF_TINY_IMAGENET = range(0, 200, 20)  # ten of its classes
NAME = "study_early_stopping"


def load(name: str, seed: int):
    """Return training images drawn by ``seed``, and test images that stay the same."""
    draw, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    if name == "mnist":
        with np.load(DATA / "mnist.npz") as file:
            train = draw.permutation(len(file["y_train"]))[:N_TRAIN]
            test = fixed.permutation(len(file["y_test"]))[:N_TEST]
            return (
                *(file["x_train"][train], file["y_train"][train]),
                *(file["x_test"][test], file["y_test"][test]),
            )
    if name == "tiny_imagenet":
        n_classes = len(FIRST_OF_TINY_IMAGENET)
        return (
            *_of_tiny_imagenet(0, N_TRAIN // n_classes, draw),
            *_of_tiny_imagenet(1, N_TEST // n_classes, fixed),
        )
    folder = load_image_folder(DATA / name)
    X, y = np.asarray(folder.paths, dtype=object), np.asarray(folder.target)
    order = fixed.permutation(len(X))  # whatever part the folder puts them in
    train, test = draw.permutation(order[N_TEST:])[:N_TRAIN], order[:N_TEST]
    return X[train], y[train], X[test], y[test]


def _of_tiny_imagenet(shard: int, n_per_class: int, rng):
    """Return encoded images of one shard, and their classes."""
    with np.load(DATA / "tiny_imagenet" / f"train{shard}.npz") as file:
        jpeg, offset, y = file["jpeg"], file["offset"], file["y"]
    rows = np.concatenate(
        [
            rng.permutation(np.flatnonzero(y == label))[:n_per_class]
            for label in FIRST_OF_TINY_IMAGENET
        ]
    )
    X = np.empty(len(rows), dtype=object)
    X[:] = [jpeg[offset[i] : offset[i + 1]].tobytes() for i in rows]
    return X, y[rows]


def fits(backbone: str, name: str, seed: int, cache: str) -> dict:
    """Return what each way reaches on one draw."""
    X, y, X_test, y_test = load(name, seed)
    row = {"backbone": backbone, "set": name, "draw": seed}
    for way, changes in WAYS.items():
        params = {**SETS[name], **BACKBONES[backbone], **changes}
        model = FineTunedClassifier(**params, random_state=seed, cache=cache)
        row[way] = round(100 * model.fit(X, y).score(X_test, y_test), 2)
    row["best epoch"], row["epochs"] = model.best_epoch_, model.n_iter_
    for measure in ("valid_loss", "valid_acc"):
        row[measure] = [round(float(x), 3) for x in model.epochs_[measure]]
    return row


def summary(rows: list[dict]) -> list[dict]:
    """Return means over draws, and the worst draw of early stopping."""
    lines = []
    for backbone, name in dict.fromkeys((r["backbone"], r["set"]) for r in rows):
        same = [r for r in rows if (r["backbone"], r["set"]) == (backbone, name)]
        lines.append({"backbone": backbone, "set": name, **_means(same)})
    return [*lines, {"backbone": "all", "set": "all", **_means(rows)}]


def _means(rows: list[dict]) -> dict:
    gains = [r["early stopping"] - r["probe"] for r in rows]
    return {
        "draws": len(rows),
        **{way: round(float(np.mean([r[way] for r in rows])), 1) for way in WAYS},
        "worst against probe": round(min(gains), 1),
    }


def main():
    """Run what the result file lacks, print the table and write the file."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = RESULTS / f"{NAME}.json"
    rows = json.loads(path.read_text())["table"] if path.exists() else []
    done = {(r["backbone"], r["set"], r["draw"]) for r in rows}
    cache = os.environ.get("SKTL_STUDY_CACHE") or tempfile.mkdtemp()
    for seed in range(N_DRAWS):
        for name in SETS:
            for backbone in BACKBONES:
                if (backbone, name, seed) in done:
                    continue
                rows.append(fits(backbone, name, seed, cache))
                shown = {k: v for k, v in rows[-1].items() if "valid" not in k}
                print(shown, flush=True)
                packages = ("torch", "scikit-learn", "skorch", "numpy")
                about = {"n_train": N_TRAIN, "n_test": N_TEST, "threads": 1}
                write_table(NAME, rows, packages, **about, summary=summary(rows))
    print(table(summary(rows)))


if __name__ == "__main__":
    main()
