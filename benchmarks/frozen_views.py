"""Measure what augmented views add to heads on frozen features.

A head is fitted to a few labels per class: to the images alone, and to several views of
each (``AugmentedEstimator``). The test images are never varied. Views are more rows, on
which a given ``C`` penalises less, so the images alone are also tried with ``C`` times
the number of views. ``SKTL_TEST_DATA`` names a folder with ``cats_vs_dogs/``,
``eurosat/``, ``mnist.npz`` and ``weights/squeezenet1_0-imagenet.pth``; the 8 x 8 digits
come with scikit-learn. All draws of labels are disjoint.

Run with: python benchmarks/frozen_views.py [store]

The store, a folder, keeps the embeddings for the next run.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
from _frame import table, write_table
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from sktl import AugmentedEstimator, PretrainedFeatures
from sktl.datasets import load_image_folder

DATA = Path(os.environ["SKTL_TEST_DATA"])
WEIGHTS = {"squeezenet1_0": str(DATA / "weights" / "squeezenet1_0-imagenet.pth")}
SHIFT, TURN = {"shift": 0.1}, {"shift": 0.1, "rotate": 15.0}
# Satellite tiles look as real in any orientation.
FLIPS = {"flip": 0.5, "vertical_flip": 0.5, "crop": 0.75}
PLAN = [  # images, network, augmentations, images per class to draw from
    ("cats_vs_dogs", "efficientnet_lite0", ["light", SHIFT], 160),
    ("cats_vs_dogs", "squeezenet1_0", ["light", SHIFT], 160),
    ("cats_vs_dogs", "pocket", ["light", SHIFT], 160),
    ("eurosat", "efficientnet_lite0", ["light"], 80),
    ("eurosat", "squeezenet1_0", ["light", FLIPS], 80),
    ("eurosat", "pocket", ["light", FLIPS], 80),
    ("digits", "lenet5", [SHIFT, TURN], 80),
    ("mnist", "pocket", [SHIFT, TURN], 80),
    ("mnist", "efficientnet_lite0", [SHIFT], 40),
]
HEADS = {
    "LogisticRegression": [LogisticRegression(max_iter=1000)],
    "Normalizer, SVC(C=10)": [Normalizer(), SVC(C=10)],
}
VIEWS = (2, 4)


def images_of(name):
    """Return training images, their labels, test images and their labels."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        order = np.random.RandomState(0).permutation(len(y))
        return X[order[:1000]], y[order[:1000]], X[order[1000:]], y[order[1000:]]
    if name == "mnist":
        with np.load(DATA / "mnist.npz") as file:
            X, y = file["x_train"][:4000], file["y_train"][:4000]
            return X, y, file["x_test"][:1000], file["y_test"][:1000]
    data = load_image_folder(DATA / name)
    train, test = data.train, data.test
    return np.asarray(train.data), train.target, np.asarray(test.data), test.target


def draws_of(y, per_class, n_pool):
    """Yield disjoint draws of ``per_class`` rows of each class."""
    rng = np.random.RandomState(0)
    pools = [rng.permutation(np.flatnonzero(y == label))[:n_pool] for label in set(y)]
    for k in range(min(map(len, pools)) // per_class):
        part = slice(k * per_class, (k + 1) * per_class)
        yield np.concatenate([pool[part] for pool in pools])


def main():
    """Fit every combination to every draw, and score it on the test images."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    store = sys.argv[1] if len(sys.argv) > 1 else "session"
    rows = []
    for name, network, augments, n_pool in PLAN:
        X, y, X_test, y_test = images_of(name)
        weights = WEIGHTS.get(network, "default")
        features = PretrainedFeatures(network, weights=weights, cache=store).fit(X)
        test = features.transform(X_test)
        for per_class in (10, 40):
            draws = list(draws_of(y, per_class, n_pool))
            for head_name, head in HEADS.items():
                # The test images are embedded once; each fit then scores them.
                def accuracy(model, draw, test=test, X=X, y=y, y_test=y_test):
                    model.fit(X[draw], y[draw])
                    steps = getattr(model, "estimator_", model)
                    return 100 * steps[1:].score(test, y_test)

                pipeline = make_pipeline(features, *head)
                plain = [accuracy(clone(pipeline), draw) for draw in draws]
                weak = clone(pipeline)
                weak[-1].C *= max(VIEWS)
                weaker = [accuracy(weak, draw) for draw in draws]
                for augment in augments:
                    row = {
                        "set": name,
                        "network": network,
                        "labels per class": per_class,
                        "head": head_name,
                        "draws": len(draws),
                        "augment": str(augment),
                        "image alone": round(np.mean(plain), 2),
                        f"C x {max(VIEWS)}": round(np.mean(weaker), 2),
                    }
                    for n_views in VIEWS:
                        found = [
                            accuracy(
                                AugmentedEstimator(
                                    pipeline,
                                    augment=augment,
                                    n_views=n_views,
                                    random_state=0,
                                ),
                                draw,
                            )
                            for draw in draws
                        ]
                        row[f"{n_views} views"] = round(np.mean(found), 2)
                    gains = np.array(found) - plain
                    row["gain"] = round(gains.mean(), 2)
                    if len(draws) > 1:
                        error = gains.std(ddof=1) / len(draws) ** 0.5
                        row["error"] = round(error, 2)
                    rows.append(row)
                    print(table([row]).splitlines()[1], flush=True)
    print(table(rows))
    packages = ("sktl", "torch", "scikit-learn")
    write_table("frozen_views", rows, packages)


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):
        main()
