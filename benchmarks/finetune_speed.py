"""Time fine-tuning against the loops that people write by hand.

resnet18, 128 px, 600 images, batch 32, the last stage and the head trained, no
augmentation. The usual loop runs the frozen layers in every epoch; the plain loop
runs them once, in batches, keeps what they return, and trains on that with nothing
around it. All of them start from decoded pixels and time includes everything after.
Weights are random: only time is measured.

Run with: python benchmarks/finetune_speed.py [repeats]
"""

import copy
import json
import platform
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from sktl import FineTunedClassifier
from sktl.backbones import resolve

RESULT = Path(__file__).parent / "results" / "finetune_speed.json"
N, SIZE, BATCH, EPOCHS, CLASSES = 600, 128, 32, 10, 5


def problem():
    """Return images, and labels that say how bright they are."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, N)
    X = rng.integers(0, 100, (N, SIZE, SIZE, 3), dtype=np.uint8)
    return X + (30 * y[:, None, None, None]).astype(np.uint8), y


def sktl_fit(X, y, unfreeze, **params):
    """Fit our estimator; nothing is in the store beforehand."""
    FineTunedClassifier(
        "resnet18",
        weights=None,
        unfreeze=unfreeze,
        image_size=SIZE,
        augment="none",
        batch_size=BATCH,
        max_epochs=EPOCHS,
        random_state=0,
        cache=None,
        **params,
    ).fit(X, y)


def loop(X, y, unfreeze, *, precompute):
    """Train by hand, the frozen layers once or in every epoch."""
    network = copy.deepcopy(resolve("resnet18", None, 0).load())
    recipe = network.info.recipe
    names = list(network.stages)
    cut = names[-1] if unfreeze == "head" else "stage3"
    head = nn.Linear(512, CLASSES)
    trained = [head] if unfreeze == "head" else [network.stages["stage4"], head]
    parameters = [p for part in trained for p in part.parameters()]
    for part in trained:
        part.requires_grad_(True)
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
        for rows in torch.randperm(N).split(BATCH):
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
    X, y = X[:256], y[:256]
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
    x = torch.from_numpy(np.array(ours._activations(ours._images_of(X, reset=False))))
    targets = torch.from_numpy(y)
    times = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for rows in torch.randperm(256).split(BATCH):
            loss = functional.cross_entropy(module(x[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        times.append(time.perf_counter() - started)
    n_steps = 256 / BATCH
    return epoch / n_steps, float(np.median(times)) / n_steps


def main(repeats=3):
    """Time everything in turn, print a table, write the JSON."""
    warnings.simplefilter("ignore")
    X, y = problem()
    runs = {
        "sktl, last stage": lambda: sktl_fit(X, y, 1),
        "sktl, last stage, bfloat16": lambda: sktl_fit(X, y, 1, precision="bfloat16"),
        "plain loop on kept activations, last stage": lambda: loop(
            X, y, 1, precompute=True
        ),
        "usual loop, last stage": lambda: loop(X, y, 1, precompute=False),
        "sktl, head": lambda: sktl_fit(X, y, "head"),
        "plain loop on kept activations, head": lambda: loop(
            X, y, "head", precompute=True
        ),
        "usual loop, head": lambda: loop(X, y, "head", precompute=False),
    }
    sktl_fit(X[:64], y[:64], 1)  # warm-up: imports, threads, the engine's network
    seconds = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    for name, values in seconds.items():
        print(f"{name:45} {np.median(values):7.2f} s   {np.round(values, 2)}")
    overhead = {}
    for unfreeze in ("head", 1):
        ours, plain = np.median([steps(X, y, unfreeze) for _ in range(repeats)], axis=0)
        overhead[str(unfreeze)] = {"sktl": ours, "plain": plain}
        print(
            f"step, unfreeze={unfreeze!r}: {1e3 * ours:.2f} ms, plain loop "
            f"{1e3 * plain:.2f} ms, overhead {100 * (ours / plain - 1):.0f} %"
        )
    result = {
        "host": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            **{name: version(name) for name in ("torch", "skorch", "scikit-learn")},
        },
        "setting": {"images": N, "size": SIZE, "batch": BATCH, "epochs": EPOCHS},
        "seconds": seconds,
        "seconds_per_step": overhead,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
