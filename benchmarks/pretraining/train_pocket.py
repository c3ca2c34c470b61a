"""Train the bundled ``pocket`` on Tiny ImageNet and export its weights.

Run from the repository root::

    python benchmarks/pretraining/train_pocket.py --data FOLDER --cache FOLDER \
        --work FOLDER --hours 1.5

``--data`` (or ``SKTL_TEST_DATA``) is the published Tiny ImageNet folder, or a folder of
shards. The run anneals within the given time, writes a checkpoint to ``--work`` every
few minutes, and continues from it when started again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from _data import load_tiny_imagenet, stratified_holdout
from _export import export_weights
from _recipe import Recipe, Trainer, run_in_batches
from _schedule import Deadline, image_size

from sktl.backbones._own_networks import Pocket

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["progress", "seconds", "epochs", "size", "train_loss", "held_out_top1"]


def held_out_accuracy(
    net: Pocket, images: np.ndarray, labels: np.ndarray, size: int = 64
) -> float:
    """Return the top-1 accuracy at ``size`` px, one plain view per image."""
    scores = run_in_batches(net, images, size)
    return float((scores.argmax(1).numpy() == labels).mean())


def export(trainer: Trainer, path: str | Path, accuracy: float) -> None:
    """Write the averaged weights in half precision."""
    export_weights(
        trainer.average.module,
        path,
        dtype=torch.float16,
        name="pocket",
        data="Tiny ImageNet (ImageNet terms: non-commercial research), 95 % of train",
        accuracy=f"held-out 5 % of Tiny ImageNet train, top-1 {accuracy:.4f}",
        script="benchmarks/pretraining/train_pocket.py",
    )


def main() -> None:
    """Train, log, and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("SKTL_TEST_DATA"))
    parser.add_argument("--cache", required=True, help="folder for decoded images")
    parser.add_argument("--work", required=True, help="folder for the checkpoint")
    parser.add_argument("--recipe", default="{}", help="JSON: fields of Recipe")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--hours", type=float, default=1.5)
    when.add_argument("--deadline", type=float, help="Unix time, instead of --hours")
    parser.add_argument("--checkpoint-minutes", type=float, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--weights", default=ROOT / "sktl/backbones/weights/pocket.safetensors"
    )
    parser.add_argument(
        "--curve", default=ROOT / "benchmarks/results/pretraining/pocket.csv"
    )
    args = parser.parse_args()
    if args.data is None:
        parser.error("name the data folder with --data or SKTL_TEST_DATA")
    torch.manual_seed(args.seed)
    recipe = Recipe(**json.loads(args.recipe))
    images, labels, _ = load_tiny_imagenet(args.data, args.cache)
    train, held_out = stratified_holdout(labels, 0.05, seed=0)
    x_held, y_held = np.asarray(images[held_out]), labels[held_out]
    y = torch.from_numpy(labels)
    net = Pocket(
        widths=recipe.widths,
        depths=recipe.depths,
        embedding=recipe.embedding,
    )
    trainer = Trainer(net, recipe, args.seed, args.threads)
    work, curve = Path(args.work), Path(args.curve)
    work.mkdir(parents=True, exist_ok=True)
    curve.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "pocket.pt"
    seen, steps, seconds, done = 0, 0, 0.0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        trainer.load_state_dict(state["trainer"])
        seen, steps, seconds, done = (
            state[key] for key in ("seen", "steps", "seconds", "progress")
        )
        print(f"resumed at {done:.3f} of the schedule, {seen} images seen")
    end = args.deadline or time.time() + args.hours * 3600 - seconds
    clock = Deadline(end, done)
    before, last_save = seconds - time.time(), time.time()
    loss = float("nan")
    print(dataclasses.asdict(recipe), flush=True)

    def log(progress: float, accuracy: float) -> None:
        new = not curve.exists() or (not done and steps_logged == 0)
        with curve.open("w" if new else "a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(COLUMNS)
            row = [
                f"{progress:.4f}",
                f"{before + time.time():.0f}",
                f"{seen / len(train):.3f}",
                image_size(progress, recipe.sizes),
                f"{loss:.4f}",
                f"{accuracy:.4f}",
            ]
            writer.writerow(row)
        print(*row, flush=True)

    def save(progress: float) -> None:
        state = {
            "trainer": trainer.state_dict(),
            "seen": seen,
            "steps": steps,
            "seconds": before + time.time(),
            "progress": progress,
        }
        # Renamed when complete, so a killed run leaves the older one intact.
        torch.save(state, work / "pocket.pt.new")
        os.replace(work / "pocket.pt.new", checkpoint)

    steps_logged = 0
    n_batches = len(train) // recipe.batch_size
    while (progress := clock.progress()) < 1:
        # The order of an epoch depends only on the seed and its number, so that a
        # resumed run continues where it stopped.
        epoch, position = divmod(steps, n_batches)
        if position == 0 or loss != loss:
            order = np.random.default_rng([args.seed, epoch]).permutation(train)
        start = position * recipe.batch_size
        batch = np.sort(order[start : start + recipe.batch_size])
        step_loss = trainer.step(images[batch], y[batch], progress)
        if not np.isfinite(step_loss):
            raise FloatingPointError(f"The loss is {step_loss} at step {steps}.")
        loss = step_loss if loss != loss else 0.99 * loss + 0.01 * step_loss
        steps += 1
        seen += len(batch)
        if time.time() - last_save > 60 * args.checkpoint_minutes:
            save(progress)
            # A quarter of the held-out images is enough to monitor a run.
            watch = held_out_accuracy(trainer.average.module, x_held[::4], y_held[::4])
            log(progress, watch)
            steps_logged += 1
            last_save = time.time()
    save(1.0)
    accuracy = held_out_accuracy(trainer.average.module, x_held, y_held)
    log(1.0, accuracy)
    export(trainer, args.weights, accuracy)


if __name__ == "__main__":
    main()
