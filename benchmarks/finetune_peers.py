"""Compare fine-tuning with fastai, Lightning and plain torch, side by side.

All start from the same ImageNet weights of SqueezeNet, train on the same few images of
two real sets for the same number of epochs, and are scored on the same test images.
Each round draws new images. Each package is used as its documentation recommends:

- fastai: ``vision_learner(...).fine_tune``, one epoch for the head and the others for
  everything, with its ``aug_transforms``;
- Lightning: a random head and its ``BackboneFinetuning`` callback, which unfreezes the
  network after one epoch;
- torch: all layers with a random head, AdamW at 1e-4, a cosine schedule;
- sktl: the defaults, and with two stages unfrozen.

Time is the time of the fit, from files on the disk, with nothing kept from earlier
runs. Packages that are not installed are left out.

Run with: SKTL_TEST_DATA=<folder> python benchmarks/finetune_peers.py [--share 0.1]
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from _frame import arguments, host, publish, summary
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import squeezenet1_0

from sktl import FineTunedClassifier
from sktl.datasets import load_image_folder

DATA = Path(os.environ.get("SKTL_TEST_DATA", "data"))
WEIGHTS = DATA / "weights" / "squeezenet1_0-imagenet.pth"
SIZES = {"eurosat": 64, "cats_vs_dogs": 80}
N_TRAIN, EPOCHS, BATCH = 240, 8, 32
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(name, n, seed):
    """Return n training images of a set, drawn by ``seed``, and all test images."""
    folder = load_image_folder(DATA / name)
    X, y = np.asarray(folder.paths, dtype=object), np.asarray(folder.target)
    split = np.asarray(folder.split)
    rng = np.random.default_rng(seed)
    train = rng.permutation(np.flatnonzero(split == "train"))
    # Draw every class once before drawing at random, so that none is missing.
    first = [train[np.flatnonzero(y[train] == label)[0]] for label in np.unique(y)]
    rest = train[~np.isin(train, first)]
    train = np.concatenate([first, rest])[: max(n, len(first))]
    test = np.flatnonzero(split == "test")
    return X[train], y[train], X[test], y[test]


def pretrained(n_classes=None):
    """Return the network with the weights that all start from, and a new head."""
    network = squeezenet1_0()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    if n_classes is not None:
        network.classifier[1] = nn.Conv2d(512, n_classes, 1)
    return network


class Files(Dataset):
    """Images on the disk, prepared the way torchvision's examples do it."""

    def __init__(self, X, y, size, *, vary):
        self.X, self.y = X, y
        if vary:
            steps = [
                transforms.RandomResizedCrop(size, scale=(0.5, 1.0)),
                transforms.RandomHorizontalFlip(),
            ]
        else:
            resize = transforms.Resize(round(size * 256 / 224))
            steps = [resize, transforms.CenterCrop(size)]
        end = [transforms.ToTensor(), transforms.Normalize(MEAN, SPREAD)]
        self.prepare = transforms.Compose([*steps, *end])

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        with Image.open(self.X[i]) as image:
            return self.prepare(image.convert("RGB")), int(self.y[i])


@torch.no_grad()
def guess(network, X, size):
    """Return the classes that a torch network predicts for images."""
    network.eval()
    files = DataLoader(Files(X, np.zeros(len(X)), size, vary=False), 64)
    return torch.cat([network(batch).argmax(1) for batch, _ in files]).numpy()


def by_sktl(**params):
    """Return a contender: our estimator with these parameters."""

    def run(X, y, size, seed):
        model = FineTunedClassifier(
            "squeezenet1_0",
            weights=str(WEIGHTS),
            image_size=size,
            random_state=seed,
            cache=None,
            **{"max_epochs": EPOCHS, **params},
        ).fit(X, y)
        return model.predict

    return run


def by_torch(X, y, size, seed):
    """Fine-tune all layers in a plain loop."""
    torch.manual_seed(seed)
    network = pretrained(len(np.unique(y))).train()
    batches = DataLoader(Files(X, y, size, vary=True), BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    n_steps = EPOCHS * len(batches)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(EPOCHS):
        for images, targets in batches:
            loss = functional.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return lambda X_test: guess(network, X_test, size)


def by_lightning(X, y, size, seed):
    """Fine-tune with Lightning: the head for one epoch, then the network too."""
    import lightning
    from lightning.pytorch.callbacks import BackboneFinetuning

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            network = pretrained(len(np.unique(y)))
            self.backbone, self.head = network.features, network.classifier

        def forward(self, images):
            return self.head(self.backbone(images)).flatten(1)

        def training_step(self, batch, _):
            images, targets = batch
            return functional.cross_entropy(self(images), targets)

        def configure_optimizers(self):
            # The callback adds the parameters of the backbone when it unfreezes them.
            learning = [p for p in self.parameters() if p.requires_grad]
            return torch.optim.AdamW(learning, lr=1e-3)

    lightning.seed_everything(seed, verbose=False)
    model = Model()
    unfreezing = BackboneFinetuning(
        unfreeze_backbone_at_epoch=1, backbone_initial_ratio_lr=0.1, verbose=False
    )
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[unfreezing],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(Files(X, y, size, vary=True), BATCH, shuffle=True))
    return lambda X_test: guess(model, X_test, size)


def by_fastai(X, y, size, seed):
    """Fine-tune with fastai: ``vision_learner(...).fine_tune``."""
    from _fastai import fine_tuned
    from fastai.vision import all as fastai
    from fastai.vision.learner import model_meta

    def network(weights=None, **kwargs):
        # What fastai would download; it asks for pretrained weights in several ways.
        return pretrained()

    model_meta[network] = model_meta[fastai.models.squeezenet1_0]
    return fine_tuned(
        lambda data: fastai.vision_learner(data, network, weights="pretrained"),
        *(X, y),
        **{"size": size, "batch_size": BATCH, "epochs": EPOCHS - 1, "seed": seed},
    )


def contenders():
    """Return the contenders that can run here, and print those that cannot."""
    found = {
        "sktl, frozen probe": by_sktl(max_epochs=0),
        "sktl, defaults": by_sktl(),
        "sktl, unfreeze=2": by_sktl(unfreeze=2),
        "torch, all layers": by_torch,
    }
    for package, run in {"lightning": by_lightning, "fastai": by_fastai}.items():
        if find_spec(package) is None:
            print(f"{package} is not installed and left out: pip install {package}")
        else:
            words = {"lightning": ", BackboneFinetuning", "fastai": ", fine_tune"}
            found[package + words[package]] = run
    return found


def quietly(run, *args):
    """Return what ``run`` returns; what it prints and logs is not of interest."""
    silent = io.StringIO()
    with (
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return run(*args)


def main():
    """Run all contenders in turn, with new images in each round."""
    args = arguments(__doc__)
    before = host()
    for package in ("skorch", "fastai", "lightning"):
        with contextlib.suppress(PackageNotFoundError):
            before["versions"][package] = version(package)
    logging.disable(logging.WARNING)
    n, rows = max(BATCH, round(N_TRAIN * args.share)), []
    runs = contenders()
    X, y, *_ = load("eurosat", BATCH, 0)
    for run in runs.values():
        quietly(run, X, y, 32, 0)  # warm-up: imports and threads
    for name, size in SIZES.items():
        seconds = {who: [] for who in runs}
        scores = {who: [] for who in runs}
        for seed in range(args.repeats):
            X, y, X_test, y_test = load(name, n, seed)
            for who, run in runs.items():
                started = time.perf_counter()
                predict = quietly(run, X, y, size, seed)
                seconds[who].append(time.perf_counter() - started)
                hits = quietly(predict, X_test) == y_test
                scores[who].append(100 * float(np.mean(hits)))
        fastest = min(np.median(times) for times in seconds.values())
        for who in runs:
            rows.append(
                {
                    "set": name,
                    "contender": who,
                    "accuracy": round(float(np.mean(scores[who])), 1),
                    "spread": round(float(np.std(scores[who])), 1),
                    "seconds": summary(seconds[who]),
                    "x fastest": float(np.median(seconds[who]) / fastest),
                    "accuracies": [round(score, 2) for score in scores[who]],
                }
            )
        print(f"{name}: done", flush=True)
    notes = [
        f"SqueezeNet 1.0, {n} training images, {EPOCHS} epochs, batches of {BATCH}; "
        f"{', '.join(f'{s} px for {d}' for d, s in SIZES.items())}; "
        f"{args.repeats} draws of the training images. "
        f"{torch.get_num_threads()} threads for every contender.",
        "Mean accuracy in percent on all test images (500 and 400), and its standard "
        "deviation over the draws.",
    ]
    publish("finetune_peers", rows, notes, args, before)


if __name__ == "__main__":
    main()
