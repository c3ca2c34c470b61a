"""The training loop of ``pocket``, shared by the study and the final run."""

from __future__ import annotations

import copy
import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from _augment import plain_view, random_view
from _muon import Muon
from _schedule import image_size, one_cycle
from torch import nn
from torch.nn.functional import cross_entropy


@dataclasses.dataclass
class Recipe:
    """The settings of a run other than its data and its duration."""

    widths: tuple[int, ...] = (32, 64, 160, 224)
    depths: tuple[int, ...] = (1, 2, 2, 2)
    embedding: int = 512
    optimizer: str = "muon"
    lr: float = 0.006
    weight_decay: float = 0.05
    batch_size: int = 256
    label_smoothing: float = 0.0
    min_area: float = 0.35
    jitter: float = 0.2
    sizes: str = "0:32,0.4:40,0.65:48,0.87:56"
    ema: float = 0.997


def build_optimizers(
    net: nn.Module, recipe: Recipe, n_parts: int
) -> list[torch.optim.Optimizer]:
    """Return optimizers whose steps can run in parallel; ``lr`` is the peak."""
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
        # Dealt out by size, so that all parts take about the same time.
        hidden.sort(key=torch.numel, reverse=True)
        return [
            *(
                Muon(hidden[part::n_parts], lr=lr, weight_decay=decay)
                for part in range(n_parts)
            ),
            # Vectors, stem and head are unstable at the full rate of the filters.
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
    """One run: network, moving average, optimizers, and one step at a time.

    A batch is divided among ``n_threads`` Python threads, each with a replica of the
    network that shares its parameters and with one torch thread. If other programs use
    the processor too, the threads of OpenMP spin while they wait for each other: on two
    busy cores, a batch took 0.89 CPU seconds that way, and 0.32 on one thread.
    """

    def __init__(self, net: nn.Module, recipe: Recipe, seed: int, n_threads: int = 2):
        self.recipe = recipe
        self.net = net.to(memory_format=torch.channels_last)
        for name, module in net.named_modules():
            if name.endswith("bn2"):
                # Each block starts as its shortcut, which allows larger rates.
                nn.init.zeros_(module.weight)
        self.average = torch.optim.swa_utils.AveragedModel(
            net,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema),
            use_buffers=True,
        )
        self.optimizers = build_optimizers(net, recipe, n_threads)
        self.peaks = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.generators = [
            torch.Generator().manual_seed(seed * n_threads + i)
            for i in range(n_threads)
        ]
        # Each replica normalises by its own share of the batch; the running
        # statistics that are kept are those of the first.
        self.replicas = [net] + [copy.deepcopy(net) for _ in range(n_threads - 1)]
        for replica in self.replicas[1:]:
            for p, shared in zip(replica.parameters(), net.parameters(), strict=True):
                p.data = shared.data
        torch.set_num_threads(1)
        self.threads = ThreadPoolExecutor(
            n_threads, initializer=torch.set_num_threads, initargs=(1,)
        )

    def step(self, images: np.ndarray, labels: torch.Tensor, progress: float) -> float:
        """Take one step at this point of the schedule and return the loss."""
        factor = one_cycle(progress)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
        size = image_size(progress, self.recipe.sizes)
        n = len(self.replicas)
        losses = list(
            self.threads.map(
                lambda i: self._backward(i, images[i::n], labels[i::n], size), range(n)
            )
        )
        for tensors in zip(*(r.parameters() for r in self.replicas), strict=True):
            for other in tensors[1:]:
                tensors[0].grad.add_(other.grad)
                other.grad = None
            tensors[0].grad.div_(n)
        list(self.threads.map(lambda optimizer: optimizer.step(), self.optimizers))
        self.net.zero_grad()
        self.average.update_parameters(self.net)
        return sum(losses) / n

    def _backward(
        self, i: int, images: np.ndarray, labels: torch.Tensor, size: int
    ) -> float:
        """Compute the gradients of replica ``i`` on its share of the batch."""
        recipe = self.recipe
        x = random_view(
            images,
            size,
            self.generators[i],
            min_area=recipe.min_area,
            jitter=recipe.jitter,
        ).contiguous(memory_format=torch.channels_last)
        self.replicas[i].train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.replicas[i](x)
        loss = cross_entropy(
            logits.float(), labels, label_smoothing=recipe.label_smoothing
        )
        loss.backward()
        return loss.item()

    def state_dict(self) -> dict:
        """Return everything that a resumed run needs."""
        return {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "generators": [g.get_state() for g in self.generators],
        }

    def load_state_dict(self, state: dict) -> None:
        """Continue a saved run."""
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved)


@torch.inference_mode()
def run_in_batches(
    net: nn.Module, images: np.ndarray, size: int = 64, batch_size: int = 250
) -> torch.Tensor:
    """Return the outputs of ``net`` for all images, in float32, unaugmented."""
    net.eval()
    outputs = []
    for i in range(0, len(images), batch_size):
        x = plain_view(images[i : i + batch_size], size)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(net(x).float())
    return torch.cat(outputs)
