"""A small study for ``pocket``: train on 150 classes, probe on the other 50.

Each candidate trains at 32 px on the same few images of 150 classes, which are drawn
from Tiny ImageNet's with a fixed seed. It is judged by its frozen embeddings of the
other 50 classes: ``StandardScaler`` and ``LogisticRegression`` on 50 images per class,
tested on
50 others. Run from the repository root::

    python benchmarks/pretraining/study_pocket.py --data FOLDER --cache FOLDER

Results are appended to ``benchmarks/results/pretraining/study.json``. By default a run
takes less than a third of an epoch, far from a full training, and there is one seed:
only large differences mean anything.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from _data import load_tiny_imagenet
from _recipe import Recipe, Trainer, run_in_batches
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl.backbones._own_networks import Pocket

ROOT = Path(__file__).resolve().parents[2]
SIZE = 32
CANDIDATES = {
    "muon": {},
    "sgd": {"optimizer": "sgd", "lr": 0.3, "weight_decay": 5e-4},
    "adamw": {"optimizer": "adamw", "lr": 3e-3},
    "muon, label smoothing": {"label_smoothing": 0.1},
    "muon, wide early stages": {
        "widths": (48, 96, 160, 224),
        "depths": (1, 2, 2, 1),
    },
}


def probe(net: Pocket, images: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Return the accuracy of a linear head on the frozen embeddings."""
    rng = np.random.default_rng(seed)
    fit, test = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        fit.append(rows[:50])
        test.append(rows[50:100])
    fit, test = np.sort(np.concatenate(fit)), np.sort(np.concatenate(test))
    embed = torch.nn.Sequential(*list(net.children())[:-1])
    x_fit = run_in_batches(embed, images[fit], SIZE).numpy()
    x_test = run_in_batches(embed, images[test], SIZE).numpy()
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return float(head.fit(x_fit, labels[fit]).score(x_test, labels[test]))


def main() -> None:
    """Train and probe the candidates named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("SKTL_TEST_DATA"))
    parser.add_argument("--cache", required=True)
    parser.add_argument("--images", type=int, default=20480)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(CANDIDATES))
    parser.add_argument(
        "--results", default=ROOT / "benchmarks/results/pretraining/study.json"
    )
    args = parser.parse_args()
    images, labels, _ = load_tiny_imagenet(args.data, args.cache)
    classes = np.random.default_rng(args.seed).permutation(labels.max() + 1)
    known = np.full(labels.max() + 1, -1)
    known[classes[:150]] = np.arange(150)
    rows = np.flatnonzero(known[labels] >= 0)
    y = torch.from_numpy(known[labels])
    held_out = np.flatnonzero(known[labels] < 0)
    for name in args.only:
        recipe = Recipe(**({"ema": 0.9, "sizes": f"0:{SIZE}"} | CANDIDATES[name]))
        torch.manual_seed(args.seed)
        trainer = Trainer(
            Pocket(
                150,
                widths=recipe.widths,
                depths=recipe.depths,
                embedding=recipe.embedding,
            ),
            recipe,
            args.seed,
            args.threads,
        )
        rng = np.random.default_rng(args.seed)
        cpu = time.process_time()
        n_images, loss = 0, float("nan")
        while n_images < args.images:
            batch = np.sort(rng.choice(rows, recipe.batch_size, replace=False))
            step_loss = trainer.step(images[batch], y[batch], n_images / args.images)
            loss = step_loss if n_images == 0 else 0.95 * loss + 0.05 * step_loss
            n_images += recipe.batch_size
        cpu = time.process_time() - cpu
        net = trainer.average.module
        score = probe(net, images[held_out], labels[held_out], args.seed)
        result = {
            "name": name,
            "probe_accuracy": round(score, 4),
            "train_loss": round(loss, 3),
            "images_seen": n_images,
            "cpu_seconds": round(cpu, 1),
            "parameters": sum(p.numel() for p in net.parameters()),
            "recipe": dataclasses.asdict(recipe),
        }
        path = Path(args.results)
        done = json.loads(path.read_text()) if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([*done, result], indent=1))
        print({k: v for k, v in result.items() if k != "recipe"}, flush=True)


if __name__ == "__main__":
    main()
