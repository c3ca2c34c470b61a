"""Train the bundled ``lenet5`` on MNIST and export its weights.

Run from the repository root::

    python benchmarks/pretraining/train_lenet5.py --data FOLDER

``FOLDER`` (or ``SKTL_TEST_DATA``) holds ``mnist.npz`` or the four idx files.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
import torch
from _data import load_mnist
from _export import export_weights
from torch.nn.functional import (
    affine_grid,
    cross_entropy,
    grid_sample,
    interpolate,
)

from sktl.backbones._own_networks import LeNet5

ROOT = Path(__file__).resolve().parents[2]
SIZE, MEAN, STD = 32, 0.1307, 0.3081


def resize(images: np.ndarray) -> torch.Tensor:
    """Return grey uint8 images as normalised 32 px tensors (no augmentation)."""
    x = torch.from_numpy(np.ascontiguousarray(images))[:, None].float() / 255
    x = interpolate(x, size=(SIZE, SIZE), mode="bilinear", antialias=True)
    return (x - MEAN) / STD


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift, scale, rotate and shear digits; lower the resolution of some."""
    n = len(images)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle = uniform(-0.21, 0.21)
    shear = uniform(-0.2, 0.2)
    # MNIST has a margin of 4 of 28 px around each digit; other sets have less.
    # Zooming in by up to 1.5 covers those.
    scale_x = 1 / uniform(0.85, 1.5)
    scale_y = 1 / uniform(0.85, 1.5)
    cos, sin = angle.cos(), angle.sin()
    shift = 0.12
    row_x = [cos * scale_x, (shear - sin) * scale_y, uniform(-shift, shift)]
    row_y = [sin * scale_x, cos * scale_y, uniform(-shift, shift)]
    theta = torch.stack([torch.stack(row_x, 1), torch.stack(row_y, 1)], 1)
    grid = affine_grid(theta, (n, 1, SIZE, SIZE), align_corners=False)
    x = grid_sample(images, grid, align_corners=False)
    # A third of the digits pass through a coarse grid, so that the features also work
    # for 8x8 or 16x16 scans that are enlarged to 32 px.
    coarse = torch.rand(n, generator=generator) < 1 / 3
    if coarse.any():
        side = int(torch.randint(8, 17, (), generator=generator))
        low = interpolate(x[coarse], size=(side, side), mode="area")
        low = interpolate(low, size=(SIZE, SIZE), mode="bilinear")
        x[coarse] = low
    contrast = uniform(0.7, 1.3)[:, None, None, None]
    return ((x * contrast).clamp_(0, 1) - MEAN) / STD


@torch.inference_mode()
def accuracy(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the top-1 accuracy."""
    net.eval()
    hits = [
        (net(a).argmax(1) == b).sum()
        for a, b in zip(x.split(1000), y.split(1000), strict=True)
    ]
    return float(sum(hits) / len(y))


def main() -> None:
    """Train, log and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("SKTL_TEST_DATA"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--weights", default=ROOT / "sktl/backbones/weights/lenet5.safetensors"
    )
    parser.add_argument(
        "--curve", default=ROOT / "benchmarks/results/pretraining/lenet5.csv"
    )
    args = parser.parse_args()
    if args.data is None:
        parser.error("name the data folder with --data or SKTL_TEST_DATA")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    data = load_mnist(args.data)
    # 5,000 training digits are held out to monitor the run. The test set is read once,
    # at the end.
    order = torch.randperm(len(data["x_train"]), generator=generator)
    watch, rows = order[:5000], order[5000:]
    raw = torch.from_numpy(data["x_train"])[:, None].float() / 255
    raw = interpolate(raw, size=(SIZE, SIZE), mode="bilinear", antialias=True)
    labels = torch.from_numpy(data["y_train"])
    x_watch, y_watch = resize(data["x_train"][watch.numpy()]), labels[watch]

    net = LeNet5()
    average = torch.optim.swa_utils.AveragedModel(
        net,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998),
        use_buffers=True,
    )
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    n_batches = len(rows) // args.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, total_steps=args.epochs * n_batches, pct_start=0.15
    )
    Path(args.curve).parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with open(args.curve, "w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["epoch", "seconds", "loss", "held_out_accuracy"])
        for epoch in range(1, args.epochs + 1):
            net.train()
            order = rows[torch.randperm(len(rows), generator=generator)]
            total = 0.0
            for batch in order[: n_batches * args.batch_size].view(n_batches, -1):
                loss = cross_entropy(net(augment(raw[batch], generator)), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                average.update_parameters(net)
                total += loss.item()
            held_out = accuracy(average.module, x_watch, y_watch)
            seconds = time.perf_counter() - start
            row = [
                epoch,
                f"{seconds:.0f}",
                f"{total / n_batches:.4f}",
                f"{held_out:.4f}",
            ]
            log.writerow(row)
            file.flush()
            print(*row, flush=True)
    test = accuracy(
        average.module, resize(data["x_test"]), torch.from_numpy(data["y_test"])
    )
    print(f"MNIST test accuracy {test:.4f}")
    export_weights(
        average.module,
        args.weights,
        dtype=torch.float32,
        name="lenet5",
        data="MNIST",
        accuracy=f"MNIST test top-1 {test:.4f}",
        script="benchmarks/pretraining/train_lenet5.py",
    )


if __name__ == "__main__":
    main()
