"""The training loop of ``pocket``, shared by the study and the final run."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from _augment import plain_view, random_view
from _muon import Muon
from _schedule import image_size, one_cycle
from torch import nn
from torch.nn.functional import cross_entropy


@dataclasses.dataclass
class Recipe:
    """What decides a run besides its data and its duration."""

    widths: tuple[int, ...] = (48, 96, 160, 224)
    depths: tuple[int, ...] = (1, 2, 2, 1)
    embedding: int = 512
    squeeze: tuple[bool, ...] = (False, False, False, False)
    optimizer: str = "sgd"
    lr: float = 0.2
    weight_decay: float = 5e-4
    batch_size: int = 128
    label_smoothing: float = 0.0
    min_area: float = 0.35
    jitter: float = 0.2
    sizes: str = "0:32,0.3:48,0.8:64"
    ema: float = 0.998


def build_optimizers(net: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return the optimizers; their ``lr`` at this point is the peak."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.optimizer == "muon":
        hidden = [
            p for n, p in net.named_parameters() if p.ndim == 4 and "stem" not in n
        ]
        known = {id(p) for p in hidden}
        rest = [p for p in matrices if id(p) not in known]
        groups = [
            {"params": rest, "weight_decay": decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return [
            Muon(hidden, lr=lr, weight_decay=decay),
            # Vectors, stem and head wander at the full rate of the filters.
            torch.optim.AdamW(groups, lr=lr / 2, betas=(0.9, 0.98)),
        ]
    groups = [
        {"params": matrices, "weight_decay": decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return [torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))]
    return [torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)]


class Trainer:
    """One run: network, moving average, optimizers, and one step at a time."""

    def __init__(self, net: nn.Module, recipe: Recipe, seed: int):
        self.recipe = recipe
        self.net = net.to(memory_format=torch.channels_last)
        for name, module in net.named_modules():
            if name.endswith("bn2"):
                # Each block starts as its shortcut, which eases large rates.
                nn.init.zeros_(module.weight)
        self.average = torch.optim.swa_utils.AveragedModel(
            net,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema),
            use_buffers=True,
        )
        self.optimizers = build_optimizers(net, recipe)
        self.peaks = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.generator = torch.Generator().manual_seed(seed)

    def step(self, images: np.ndarray, labels: torch.Tensor, progress: float) -> float:
        """Take one step at this point of the schedule and return the loss."""
        recipe = self.recipe
        factor = one_cycle(progress)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
        size = image_size(progress, recipe.sizes)
        x = random_view(
            images,
            size,
            self.generator,
            min_area=recipe.min_area,
            jitter=recipe.jitter,
        ).contiguous(memory_format=torch.channels_last)
        self.net.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.net(x)
        loss = cross_entropy(
            logits.float(), labels, label_smoothing=recipe.label_smoothing
        )
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.average.update_parameters(self.net)
        return loss.item()

    def state_dict(self) -> dict:
        """Return all that a resumed run needs."""
        return {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Take up a saved run."""
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.generator.set_state(state["generator"])


@torch.inference_mode()
def run_in_batches(
    net: nn.Module, images: np.ndarray, size: int = 64, batch_size: int = 250
) -> torch.Tensor:
    """Return the outputs of ``net`` for all images, in float32, not augmented."""
    net.eval()
    outputs = []
    for i in range(0, len(images), batch_size):
        x = plain_view(images[i : i + batch_size], size)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(net(x).float())
    return torch.cat(outputs)
