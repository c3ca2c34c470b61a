"""``TrainingRun``: what one call of ``fit`` needs while it trains, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.optim import Optimizer

from sktl.finetune._mixing import Mixing
from sktl.finetune._rates import (
    rate_factor,
    remember_rates,
    restore_rates,
    scale_rates,
)

# A step of Adam is as long as its rate, however small the gradient, and it takes some
# to know the right length: with 8 steps in all at full rates, a probe of 79.6 % on cats
# and dogs went down to 72.8 %. Shorter trainings get a share of the rates.
FULL_STEPS = 100


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

        Views are the same ones even then: folds and candidates of a search share what
        the frozen stages make of them.
        """
        drawn = random_state
        if not isinstance(random_state, np.random.RandomState):
            drawn = np.random.RandomState(random_state)
        seeds = cls(*map(int, drawn.randint(2**31 - 1, size=5)))
        return replace(seeds, views=0) if random_state is None else seeds


class TrainingRun:
    """The progress of one call of ``fit`` through its steps.

    Parameters
    ----------
    n_steps : int
        Steps that all epochs take together.
    schedule, warmup
        As on the estimator.
    seed : int
        Draws the order of the rows.
    mixing : Mixing or None
        Mixes batches.
    """

    def __init__(
        self,
        n_steps: int,
        schedule: str,
        warmup: float,
        seed: int,
        mixing: Mixing | None,
    ):
        self.n_steps = max(1, n_steps)
        self.step = 0
        self.seed = seed
        self.mixing = mixing
        self._schedule = schedule
        self._warmup = warmup
        self._share = 1.0
        self._has_begun = False
        # Hands off: skorch's LRScheduler or the user may set the rates themselves.
        self._constant = schedule == "constant" and not warmup

    def begin(self, optimizer: Optimizer) -> None:
        """Note the full rates before the first step."""
        self._has_begun = True
        if not self._constant:
            remember_rates(optimizer)
        if self._warmup:
            # The optimiser keeps count over all calls of partial_fit.
            first = optimizer.param_groups[0]
            first["n_steps"] = first.get("n_steps", 0) + self.n_steps
            self._share = min(1.0, first["n_steps"] / FULL_STEPS)

    def before_step(self, optimizer: Optimizer) -> None:
        """Set the rates for the step to come."""
        if not self._constant:
            progress = min(self.step / self.n_steps, 1.0)
            factor = rate_factor(self._schedule, self._warmup, progress)
            scale_rates(optimizer, self._share * factor)
        self.step += 1

    def end(self, optimizer: Optimizer) -> None:
        """Put the full rates back, for training that goes on later."""
        if self._has_begun and not self._constant:
            restore_rates(optimizer)


def opening_epochs(n_stages: int, max_epochs: int) -> list[int]:
    """Return the epoch (from 0) at which each depth, from 1 on, begins to learn.

    One stage per epoch from the top; faster when that would take more than half of
    all epochs.
    """
    half = max_epochs / 2
    pace = min(1.0, half / n_stages) if n_stages else 1.0
    return [int(depth * pace) for depth in range(1, n_stages + 1)]


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
