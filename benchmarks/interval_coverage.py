"""Measure how often the 95% intervals of ``compare`` hold the truth.

Images are drawn at random from a real set, and two heads on frozen features are
cross-validated on them, as ``compare`` does. The truth is the score of the head fitted
to all drawn images, on the images that were not drawn. For each set and number of
images, the table says how often the interval of a score, and of the difference between
two heads, holds it, and how wide the intervals are. "t" is the corrected resampled t
test, which ``compare`` uses where images are not counted.

Reads ``cats_vs_dogs/``, ``eurosat/`` and ``mnist.npz`` in the folder named by
``SKTL_TEST_DATA``.

Run with: python benchmarks/interval_coverage.py
"""

import os
import warnings
from pathlib import Path

import numpy as np
from _frame import arguments, write_table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatures
from sktl.datasets import load_image_folder
from sktl.model_selection._intervals import (
    corrected_interval,
    difference_interval,
    score_interval,
)

DATA = Path(os.environ["SKTL_TEST_DATA"])
PACKAGES = ("sktl", "torch", "scikit-learn", "numpy", "scipy")
SETS = [
    ("cats_vs_dogs", "pocket"),
    ("eurosat", "pocket"),
    ("mnist", "lenet5"),
    ("cats_vs_dogs", "efficientnet_lite0"),
]
SIZES, DRAWS, MOST_HELD_OUT = (50, 100, 200), 100, 2000
HEADS = LogisticRegression(C=0.1, max_iter=300), KNeighborsClassifier(5)


def embedded(name: str, backbone: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings and classes of a set."""
    if name == "mnist":
        with np.load(DATA / "mnist.npz") as found:
            X, y = found["x_test"], found["y_test"]
    else:
        folder = load_image_folder(DATA / name)
        X, y = folder.paths, folder.target
    return PretrainedFeatures(backbone).fit_transform(X), np.asarray(y)


def f1_macro(y, predicted) -> float:
    """Return the mean F1 over classes."""
    return f1_score(y, predicted, average="macro")


def one_draw(X, y, rows, rest) -> list[tuple]:
    """Return what every interval of a draw is of, and the facts about it."""
    few, targets = X[rows], y[rows]
    splits = list(StratifiedKFold(5, shuffle=True, random_state=0).split(few, targets))
    predicted, final = [], []
    for head in HEADS:
        model, out = make_pipeline(StandardScaler(), head), np.zeros_like(targets)
        for train, test in splits:
            out[test] = model.fit(few[train], targets[train]).predict(few[test])
        predicted.append(out)
        final.append(model.fit(few, targets).predict(X[rest]))
    found = []
    for name, score in {"accuracy": accuracy_score, "f1_macro": f1_macro}.items():
        scores = [
            np.array([score(targets[test], out[test]) for _, test in splits])
            for out in predicted
        ]
        truths = [score(y[rest], out) for out in final]
        for by_fold, truth in zip(scores, truths, strict=True):
            interval = score_interval(by_fold, splits, name)
            found.append((name, interval, truth))
            found.append((f"{name}, t", corrected_interval(by_fold, splits), truth))
        differences, truth = scores[0] - scores[1], truths[0] - truths[1]
        right = [out == targets for out in predicted]
        apart = float(np.mean(right[0] != right[1]))
        interval = difference_interval(differences, splits, name, apart=apart)
        found.append((f"difference of {name}", interval, truth))
        interval = corrected_interval(differences, splits)
        found.append((f"difference of {name}, t", interval, truth))
    return [(what, *facts(interval, truth)) for what, interval, truth in found]


def facts(interval, truth: float) -> tuple[bool, float, float, bool]:
    """Return whether an interval holds the truth, its width, and if it is too high."""
    low, high = interval.low, interval.high
    if np.isnan(low):  # equal folds leave the t test an interval of no width
        low = high = interval.mean
    return low <= truth <= high, high - low, truth, truth < low


def main():
    """Draw images from every set and count."""
    args = arguments(__doc__)
    draws = max(4, round(DRAWS * args.share))
    table = []
    for name, backbone in SETS:
        X, y = embedded(name, backbone)
        for n in SIZES:
            by_kind: dict[str, list] = {}
            splitter = StratifiedShuffleSplit(draws, train_size=n, random_state=n)
            for rows, rest in splitter.split(X, y):
                for what, *values in one_draw(X, y, rows, rest[:MOST_HELD_OUT]):
                    by_kind.setdefault(what, []).append(values)
            for what, values in by_kind.items():
                held, width, truth, below = np.mean(values, axis=0)
                table.append(
                    {
                        "set": name,
                        "backbone": backbone,
                        "images": n,
                        "interval of": what,
                        "intervals": len(values),
                        "coverage": round(float(held), 3),
                        "truth below": round(float(below), 3),
                        "mean width": round(float(width), 3),
                        "mean truth": round(float(truth), 3),
                    }
                )
                print("  ".join(str(v).ljust(20) for v in table[-1].values()))
        write_table("interval_coverage", table, PACKAGES, draws=draws)


if __name__ == "__main__":
    with warnings.catch_warnings():
        # Five folds of 50 images of ten classes; the heads need not converge.
        warnings.simplefilter("ignore")
        main()
