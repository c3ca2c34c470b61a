"""Test accuracy of fine-tuning on real images, against the probe and a plain recipe.

SqueezeNet with ImageNet weights, 600 training images of each set at small size (64 px
satellite images, 80 px cats and dogs), and the test sets that come with them.
``unfreeze`` is chosen by cross-validation on the training images. The plain recipes
train all layers with a random head, on flips and crops drawn in every epoch: once with
the SGD of the PyTorch tutorial, and once with AdamW at a tenth of its rate, which suits
this network (it has no BatchNorm, and with a random head on its large embeddings SGD
goes astray). Times are processor times.

Run with: SKTL_TEST_DATA=<folder> python benchmarks/finetune_accuracy.py
"""

import copy
import json
import os
import platform
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional
from torchvision.transforms import v2

from sktl import FineTunedClassifier, PretrainedFeatures
from sktl.backbones import resolve
from sktl.datasets import load_image_folder
from sktl.images import ImageRows

RESULT = Path(__file__).parent / "results" / "finetune_accuracy.json"
DATA = Path(os.environ.get("SKTL_TEST_DATA", "data"))
NAME = "squeezenet1_0"
WEIGHTS = str(DATA / "weights" / "squeezenet1_0-imagenet.pth")
SIZES = {"eurosat": 64, "cats_vs_dogs": 80}
EPOCHS = 12
N_TRAIN = 600
results: dict = {}


def load(name):
    """Return training and test images of a set."""
    folder = load_image_folder(DATA / name)
    X, y = np.asarray(folder.paths, dtype=object), folder.target
    split = np.asarray(folder.split)
    rng = np.random.default_rng(0)
    train = rng.permutation(np.flatnonzero(split == "train"))[:N_TRAIN]
    test = np.flatnonzero(split == "test")
    return X[train], y[train], X[test], y[test]


def note(name, what, score, seconds, **more):
    """Print a line and write it to the JSON."""
    print(
        f"{name:13} {what:34} {100 * score:5.1f} % {seconds:7.1f} s {more}", flush=True
    )
    row = {"accuracy": round(float(score), 4), "seconds": round(seconds, 1), **more}
    results.setdefault(name, {})[what] = row
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=1) + "\n")


def timed(run):
    """Return what ``run`` returns, and its processor time."""
    started = time.process_time()
    return run(), time.process_time() - started


def tuned(name, **params):
    """Return our estimator with its defaults."""
    return FineTunedClassifier(
        NAME, weights=WEIGHTS, image_size=SIZES[name], random_state=0, **params
    )


def by_hand(name, X, y, X_test, y_test, sgd):
    """Fine-tune all layers in a plain loop; return the test accuracy."""
    torch.manual_seed(0)
    network = copy.deepcopy(resolve(NAME, WEIGHTS, None).load()).requires_grad_(True)
    recipe = network.info.recipe.at(SIZES[name])
    head = nn.Linear(network.info.n_features, len(np.unique(y)))
    parameters = [*network.parameters(), *head.parameters()]
    if sgd:
        optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    vary = v2.Compose(
        [v2.RandomResizedCrop(recipe.size, scale=(0.5, 1)), v2.RandomHorizontalFlip()]
    )

    def pixels(X):
        rows = ImageRows.of(X)
        return torch.stack([rows.prepare(i, recipe) for i in range(len(rows))])

    images, targets = pixels(X), torch.from_numpy(y)
    for _ in range(EPOCHS):
        network.train()
        for rows in torch.randperm(len(y)).split(32):
            batch = torch.stack([vary(image) for image in images[rows]])
            logits = head(network(recipe.normalise(batch)))
            loss = functional.cross_entropy(logits, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        parts = pixels(X_test).split(64)
        guess = [head(network(recipe.normalise(part))).argmax(1) for part in parts]
    return float((torch.cat(guess).numpy() == y_test).mean())


def compare(name):
    """Measure everything on one set."""
    X, y, X_test, y_test = load(name)
    probe = make_pipeline(
        PretrainedFeatures(NAME, weights=WEIGHTS, image_size=SIZES[name]),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    _, seconds = timed(lambda: probe.fit(X, y))
    note(name, "frozen, logistic regression", probe.score(X_test, y_test), seconds)
    search = GridSearchCV(
        tuned(name, max_epochs=EPOCHS),
        {"unfreeze": [1, 2, 3]},
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
    )
    _, seconds = timed(lambda: search.fit(X, y))
    means = search.cv_results_["mean_test_score"]
    note(
        name,
        "fine-tuned, unfreeze by CV",
        search.score(X_test, y_test),
        seconds,
        unfreeze=search.best_params_["unfreeze"],
        cv=dict(zip("123", means.round(4).tolist(), strict=True)),
    )
    for what, sgd in {"plain loop, SGD": True, "plain loop, AdamW": False}.items():
        score, seconds = timed(lambda sgd=sgd: by_hand(name, X, y, X_test, y_test, sgd))
        note(name, f"{what}, all layers", score, seconds)


def heads(name="eurosat", n_train=300, epochs=10):
    """Compare the solved head with a random one, over five seeds."""
    X, y, X_test, y_test = load(name)
    for head_init in ("probe", "random"):
        scores, seconds = [], 0.0
        for seed in range(5):
            rows = np.random.default_rng(seed).permutation(len(y))[:n_train]
            net = tuned(name, unfreeze=2, max_epochs=epochs, head_init=head_init)
            net.set_params(random_state=seed, augment="none")
            _, spent = timed(lambda net=net, rows=rows: net.fit(X[rows], y[rows]))
            scores.append(net.score(X_test, y_test))
            seconds += spent
        note(
            name,
            f"head_init={head_init}, {n_train} images, 5 seeds",
            np.mean(scores),
            seconds,
            spread=round(float(np.std(scores, ddof=1)), 4),
        )


def main():
    """Run all comparisons."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results["host"] = {
        "processor": platform.processor() or platform.machine(),
        "threads": 1,
        **{name: version(name) for name in ("torch", "skorch", "scikit-learn")},
    }
    compare("eurosat")
    heads()
    compare("cats_vs_dogs")


if __name__ == "__main__":
    main()
