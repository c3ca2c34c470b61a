"""Time fine-tuning against the loops that people write by hand.

resnet18, 128 px, 600 images, batches of 32, the last stage and the head trained, no
augmentation. The usual loop runs the frozen layers in every epoch. The plain loop runs
them once, in batches, keeps their output, and trains on that with nothing else around
it. All start from decoded pixels, and the time includes everything after that. Weights
are random, because only time is measured.

There is a limit to what a fit can gain. With the last stage it is the ratio of all
layers to the trained ones, about 2.3 here in float32; bfloat16 also halves the time for
training those. With the head it is the number of epochs, times how much faster the
engine is than plain torch. "kept" is a fit whose activations are already in the store,
as they are for all candidates of a search but the first.

Run with: python benchmarks/finetune_speed.py
"""

import copy
import tempfile
import time
import warnings
from functools import partial

import numpy as np
import torch
from _frame import arguments, host, interleaved, publish, summary
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.nn import functional

from sktl import FineTunedClassifier
from sktl.backbones import resolve
from sktl.engine import images_embedded

N, SIZE, BATCH, EPOCHS, CLASSES = 600, 128, 32, 10, 5


def problem(n):
    """Return images, and their brightness as labels."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, n)
    X = rng.integers(0, 100, (n, SIZE, SIZE, 3), dtype=np.uint8)
    return X + (30 * y[:, None, None, None]).astype(np.uint8), y


def sktl_fit(X, y, unfreeze, **params):
    """Fit our estimator; without a ``cache`` it starts with an empty store."""
    settings = {"max_epochs": EPOCHS, "cache": None, **params}
    FineTunedClassifier(
        "resnet18",
        weights=None,
        unfreeze=unfreeze,
        image_size=SIZE,
        augment="none",
        batch_size=BATCH,
        random_state=0,
        **settings,
    ).fit(X, y)


def loop(X, y, unfreeze, *, precompute):
    """Train by hand; run the frozen layers once or in every epoch."""
    network = copy.deepcopy(resolve("resnet18", None, 0).load())
    recipe = network.info.recipe
    names = list(network.stages)
    cut = names[-1] if unfreeze == "head" else "stage3"
    head = nn.Linear(512, CLASSES)
    trained = [head] if unfreeze == "head" else [network.stages["stage4"], head]
    parameters = [p for part in trained for p in part.parameters()]
    for part in trained:
        part.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    images = torch.from_numpy(X).permute(0, 3, 1, 2)
    targets = torch.from_numpy(y)
    kept = None
    if precompute:
        with torch.no_grad():
            parts = images.split(BATCH)
            kept = torch.cat(
                [network.run(recipe.normalise(p), upto=cut) for p in parts]
            )
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y)).split(BATCH):
            if precompute:
                x = kept[rows]
            else:
                x = network.run(recipe.normalise(images[rows]), upto=cut)
            if unfreeze != "head":
                x = network.run(x, after="stage3")
            loss = functional.cross_entropy(head(x.flatten(1)), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def steps(X, y, unfreeze):
    """Return seconds per step on kept activations: ours, then the plain loop."""
    X, y = X[:128], y[:128]
    ours = FineTunedClassifier(
        "resnet18",
        weights=None,
        unfreeze=unfreeze,
        image_size=SIZE,
        augment="none",
        max_epochs=EPOCHS,
        batch_size=BATCH,
        random_state=0,
    ).fit(X, y)
    epoch = float(np.median([row["dur"] for row in ours.history]))
    module = copy.deepcopy(ours.module_).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    x = ours.get_dataset(X).inputs(list(range(len(X))))
    targets = torch.from_numpy(y)
    times = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for rows in torch.randperm(len(y)).split(BATCH):
            loss = functional.cross_entropy(module(x[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        times.append(time.perf_counter() - started)
    n_steps = len(y) / BATCH
    return epoch / n_steps, float(np.median(times)) / n_steps


def search_embeds(X, y):
    """Return how many images a search over rates sends through the frozen part."""
    with tempfile.TemporaryDirectory() as folder:
        search = GridSearchCV(
            FineTunedClassifier(
                "resnet18",
                weights=None,
                unfreeze=1,
                image_size=SIZE,
                augment="none",
                batch_size=BATCH,
                max_epochs=1,
                random_state=0,
                cache=folder,
            ),
            {"lr": [1e-4, 3e-4, 1e-3, 3e-3]},
            cv=3,
        )
        before = images_embedded()
        search.fit(X, y)
        return images_embedded() - before


def main():
    """Time everything in turn, count the search, print tables, write the JSON."""
    warnings.simplefilter("ignore")
    args = arguments(__doc__)
    started = host()
    n = max(2 * BATCH, round(N * args.share))
    X, y = problem(n)
    cases = {}
    with tempfile.TemporaryDirectory() as folder:
        for what, unfreeze in (("last stage", 1), ("head", "head")):

            def fit(unfreeze=unfreeze, **params):
                sktl_fit(X, y, unfreeze, **params)

            def by_hand(unfreeze=unfreeze, **params):
                loop(X, y, unfreeze, **params)

            cases |= {
                f"sktl, {what}": fit,
                f"sktl in bfloat16, {what}": partial(fit, precision="bfloat16"),
                f"sktl, kept, {what}": partial(fit, cache=folder),
                f"plain loop, {what}": partial(by_hand, precompute=True),
                f"usual loop, {what}": partial(by_hand, precompute=False),
            }
            fit(cache=folder, max_epochs=0)
        # Imports, threads and the engine's network; a full round would double the time.
        for precision in ("float32", "bfloat16"):
            sktl_fit(X[:BATCH], y[:BATCH], 1, precision=precision, max_epochs=1)
        loop(X[:BATCH], y[:BATCH], 1, precompute=True)
        times = interleaved(cases, args.repeats, warm_up=0)
    rows = []
    for name, seconds in times.items():
        who, _, what = name.rpartition(", ")
        row = {"trained": what, "loop": who, "seconds": seconds}
        for other in ("plain", "usual"):
            rival = times[f"{other} loop, {what}"]["median"]
            row[f"x {other} loop"] = seconds["median"] / rival
        rows.append(row)
    for unfreeze, what in (("head", "head"), (1, "last stage")):
        pairs = [steps(X, y, unfreeze) for _ in range(args.repeats)]
        ours, plain = (
            summary([1e3 * ms for ms in side]) for side in zip(*pairs, strict=True)
        )
        ratio = ours["median"] / plain["median"]
        for who, ms, times_plain in (("sktl", ours, ratio), ("plain", plain, 1.0)):
            row = {"trained": what, "loop": f"one step, {who}"}
            rows.append({**row, "ms": ms, "x plain loop": times_plain})
    embedded = search_embeds(X, y)
    rows.append({"trained": "last stage", "loop": "search", "images": embedded})
    notes = [
        f"resnet18, {n} images of {SIZE} px, batches of {BATCH}, {EPOCHS} epochs; "
        f"{torch.get_num_threads()} threads for every contender.",
        "'x plain loop' and 'x usual loop' are times relative to theirs: below 1 is "
        "faster.",
        "'one step' is one training step on activations that are already there, from "
        "fetching the batch to the optimiser's step.",
        f"A 3-fold search over 4 values of lr, refit included, sent {embedded} images "
        f"through the frozen part; there are {n}.",
    ]
    publish("finetune_speed", rows, notes, args, started)


if __name__ == "__main__":
    main()
