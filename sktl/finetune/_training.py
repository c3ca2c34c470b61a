"""What training needs only while it runs: seeds, rates, mixing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sktl.finetune._callbacks import BestEpoch

# A step of Adam is as long as its rate, however small the gradient, and Adam needs some
# steps to find the right length: with 8 steps at full rates, a probe of 79.6 % on
# cats and dogs fell to 72.8 %. Shorter runs get a share of the rates.
FULL_STEPS = 100
# With few images, full rates throw a net up and down from one epoch to the next. Its
# average over some epochs moves smoothly, so that an epoch chosen on a few held-out
# images is also a good one for the refit. As a share of all steps.
AVERAGED = 0.4


@dataclass(frozen=True)
class Seeds:
    """One independent seed for each thing that is drawn."""

    torch: int
    split: int
    order: int
    views: int
    mixing: int

    @classmethod
    def of(cls, random_state) -> Seeds:
        """Return seeds; without a random state, new ones on every call.

        Views are the same ones even then, so that the folds and candidates of a search
        share the activations of each view.
        """
        drawn = random_state
        if not isinstance(random_state, np.random.RandomState):
            drawn = np.random.RandomState(random_state)
        seeds = cls(*map(int, drawn.randint(2**31 - 1, size=5)))
        return replace(seeds, views=0) if random_state is None else seeds


@contextmanager
def own_random_state(seed: int, device: str) -> Iterator[None]:
    """Run with torch seeded, and leave the random state of the process untouched."""
    on_gpu = device.startswith("cuda")
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


class Schedule:
    """The learning rates of one training run, from its first step to its last.

    The optimizer comes with its full rates. They are stored in its groups, so that
    training can continue from a checkpoint saved on the way. ``n_steps`` is the number
    of steps of all epochs.
    """

    def __init__(self, optimizer: Optimizer, kind: str, warmup: float, n_steps: int):
        self.optimizer = optimizer
        self.kind = kind
        self.warmup = warmup
        self.n_steps = max(1, n_steps)
        self.step = 0
        # skorch's LRScheduler or the user may set constant rates themselves.
        self._is_constant = kind == "constant" and not warmup
        self._share = 1.0
        if not self._is_constant:
            for group in optimizer.param_groups:
                group["full_lr"] = group["lr"]
        if warmup:
            # The optimizer keeps the count over all calls of partial_fit.
            first = optimizer.param_groups[0]
            first["n_steps"] = first.get("n_steps", 0) + self.n_steps
            self._share = min(1.0, first["n_steps"] / FULL_STEPS)

    @property
    def progress(self) -> float:
        """The share of the steps already taken, from 0 to 1."""
        return min(self.step / self.n_steps, 1.0)

    def before_step(self) -> None:
        """Set the rates for the next step."""
        if not self._is_constant:
            factor = rate_factor(self.kind, self.warmup, self.progress)
            for group in self.optimizer.param_groups:
                group["lr"] = group["full_lr"] * self._share * factor
        self.step += 1

    def end(self) -> None:
        """Restore the full rates, in case training continues later."""
        if not self._is_constant:
            restore_rates(self.optimizer)


def restore_rates(optimizer: Optimizer) -> None:
    """Restore the full rates of an optimizer that was saved during training."""
    for group in optimizer.param_groups:
        group["lr"] = group.get("full_lr", group["lr"])


def rate_factor(kind: str, warmup: float, progress: float) -> float:
    """Return what the full rates are multiplied by, at a progress from 0 to 1.

    Over the share ``warmup`` of the steps the rate rises from near 0 ("onecycle": from
    1/25) to its full value.
    """
    if progress < warmup:
        rise = progress / warmup
        if kind == "onecycle":
            return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * rise)) / 2
        # Never 0: the first step has to teach something.
        return max(rise, 0.01)
    if kind == "constant":
        return 1.0
    fall = (progress - warmup) / (1 - warmup)
    return (1 + math.cos(math.pi * fall)) / 2


def opening_epochs(n_stages: int, max_epochs: int) -> list[int]:
    """Return the epoch (from 0) at which each depth, from 1 on, begins to learn.

    One stage per epoch from the top; faster when that would take more than half of
    all epochs.
    """
    half = max_epochs / 2
    pace = min(1.0, half / n_stages) if n_stages else 1.0
    return [int(depth * pace) for depth in range(1, n_stages + 1)]


def n_rising_epochs(warmup: float, n_stages: int, max_epochs: int) -> int:
    """Return after how many epochs the rates are full and all stages learn."""
    opening = opening_epochs(n_stages, max_epochs)
    return max(math.ceil(warmup * max_epochs), *opening, 0)


class Mixup:
    """Blend each row of a batch with another one.

    The inputs of the trained part are blended: pixels if nothing is frozen, otherwise
    activations at the cut (manifold mixup). The share of each row is drawn from a Beta
    distribution with parameter ``alpha``.
    """

    def __init__(self, alpha: float, seed: int):
        self.alpha = alpha
        self._rng = np.random.default_rng(seed)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return the blended batch, each row's partner and its own share."""
        share = float(self._rng.beta(self.alpha, self.alpha))
        partner = torch.from_numpy(self._rng.permutation(len(x))).to(x.device)
        return torch.lerp(x[partner], x, share), partner, share

    def step(self, net, X, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch whose rows are blended, and the outputs."""
        has_weights = isinstance(X, Mapping)
        x, partner, share = self((X["x"] if has_weights else X).to(net.device))
        outputs, partner = net.infer(x), partner.to(y.device)
        own = net.get_loss(outputs, y, X=X, training=True)
        if has_weights:
            weight = X["sample_weight"]
            X = {"sample_weight": weight[partner.to(weight.device)]}
        other = net.get_loss(outputs, y[partner], X=X, training=True)
        return share * own + (1 - share) * other, outputs


class StopTraining(Exception):  # noqa: N818
    """Training ends before the last epoch."""


@dataclass
class Training:
    """What the hooks of a net need while it trains."""

    order_seed: int
    mixup: Mixup | None
    schedule: Schedule
    best: BestEpoch | None = None
    average: AveragedModel | None = None
    is_refit: bool = False
    _trained: nn.Module | None = None

    def average_weights(self, net) -> AveragedModel:
        """Follow the average of the weights from now on, and return it.

        The weights from ``AVERAGED`` times all steps ago count 1/e as much as the
        latest.
        """
        follow = get_ema_multi_avg_fn(1 - 1 / (1 + AVERAGED * self.schedule.n_steps))
        self.average = AveragedModel(net.module_, None, None, follow, use_buffers=True)
        self.average.update_parameters(net.module_)  # the first call only copies
        return self.average

    def show_average(self, net) -> None:
        """Give the net its average weights, to be measured or kept."""
        if self.average is not None and self._trained is None:
            self._trained, net.module_ = net.module_, self.average.module

    def resume(self, net) -> None:
        """Give the net the weights that are trained."""
        if self._trained is not None:
            net.module_, self._trained = self._trained, None


def as_columns(epochs: list[dict]) -> dict[str, np.ndarray]:
    """Return one array for each measure, with NaN where an epoch has none."""
    # In the order of the last epoch: callbacks may have been added on the way.
    names = [
        name
        for name in dict.fromkeys(name for row in reversed(epochs) for name in row)
        if name not in ("batches", "epoch")
        and not name.endswith(("_batch_count", "_best"))
    ]
    columns = {name: [row.get(name, np.nan) for row in epochs] for name in names}
    return {
        "epoch": np.arange(len(epochs)),
        **{name: np.array(values) for name, values in columns.items()},
    }
