"""Choose the defaults of fine-tuning: accuracy and time, one parameter at a time.

Two real sets (satellite images, which are unlike ImageNet, and cats and dogs) with
SqueezeNet's ImageNet weights at small size, and scikit-learn's digits with the bundled
lenet5. Each line changes one parameter of the base setting. Times are processor times
of one thread with the cache off, so other work on the machine does not count.

Run with: SKTL_TEST_DATA=<folder> python benchmarks/study_finetune_defaults.py
"""

import json
import os
import platform
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from sktl import FineTunedClassifier
from sktl.datasets import load_image_folder

RESULT = Path(__file__).parent / "results" / "study_finetune_defaults.json"
DATA = Path(os.environ.get("SKTL_TEST_DATA", "data"))
SQUEEZENET = {
    "backbone": "squeezenet1_0",
    "weights": str(DATA / "weights" / "squeezenet1_0-imagenet.pth"),
    "unfreeze": 2,
}
SETS = {
    "eurosat": {**SQUEEZENET, "image_size": 64},
    "cats_vs_dogs": {**SQUEEZENET, "image_size": 80},
    "digits": {"backbone": "lenet5", "unfreeze": 2},
}
N_TRAIN, SEEDS = 300, (0, 1, 2)
BASE = {"max_epochs": 10, "lr": 1e-3, "lr_decay": 0.3, "augment": "none"}
VARIANTS = {
    "frozen probe": {"max_epochs": 0},
    "base": {},
    "lr=3e-4": {"lr": 3e-4},
    "lr=3e-3": {"lr": 3e-3},
    "lr_decay=0.1": {"lr_decay": 0.1},
    "lr_decay=1": {"lr_decay": 1.0},
    "max_epochs=20": {"max_epochs": 20},
    "random head": {"head_init": "random"},
    "light, 4 views": {"augment": "light", "n_views": 4},
    "light, live": {"augment": "light", "n_views": None},
    "strong, 4 views": {"augment": "strong", "n_views": 4},
    "crop, 4 views": {"augment": {"crop": 0.75}, "n_views": 4},
    "shift, 4 views": {"augment": {"shift": 0.1}, "n_views": 4},
    "light and shift, 4 views": {
        "augment": {"flip": 0.5, "crop": 0.75, "shift": 0.1},
        "n_views": 4,
    },
    "light, 4 views, lr=3e-3": {"augment": "light", "n_views": 4, "lr": 3e-3},
    "light, 8 views, 20 epochs": {"augment": "light", "n_views": 8, "max_epochs": 20},
}


def load(name: str, n_train: int, seed: int):
    """Return training and test images of a set, the training part drawn by ``seed``."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        order = rng.permutation(len(X))
        train, test = order[:n_train], order[n_train:]
        return X[train], y[train], X[test], y[test]
    folder = load_image_folder(DATA / name)
    X, y = np.asarray(folder.paths, dtype=object), folder.target
    split = np.asarray(folder.split)
    train = rng.permutation(np.flatnonzero(split == "train"))[:n_train]
    test = np.flatnonzero(split == "test")
    return X[train], y[train], X[test], y[test]


def main(names):
    """Run all variants on the sets called ``names``, print a table, write the JSON."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    results["host"] = {
        "processor": platform.processor() or platform.machine(),
        "threads": 1,
        **{name: version(name) for name in ("torch", "scikit-learn", "skorch")},
    }
    for name in names:
        rows = results.setdefault(name, {})
        for variant, changes in VARIANTS.items():
            scores, seconds = [], []
            for seed in SEEDS:
                X, y, X_test, y_test = load(name, N_TRAIN, seed)
                params = {**SETS[name], **BASE, **changes}
                model = FineTunedClassifier(**params, random_state=seed, cache=None)
                started = time.process_time()
                model.fit(X, y)
                seconds.append(time.process_time() - started)
                model.cache = "session"
                scores.append(model.score(X_test, y_test))
            rows[variant] = {
                "accuracy": [round(score, 4) for score in scores],
                "seconds": round(float(np.median(seconds)), 2),
                "n_train": N_TRAIN,
            }
            mean = 100 * np.mean(scores)
            print(
                f"{name:13} {variant:28} {mean:5.1f} % {seconds[-1]:6.1f} s", flush=True
            )
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or list(SETS))
