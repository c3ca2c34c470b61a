"""The learning-rate range test: train while the rate grows, see where it breaks."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator

import numpy as np
from torch.optim import Optimizer

from sktl.finetune._rates import remember_rates, scale_rates

LOWEST, HIGHEST, N_STEPS = 1e-6, 1.0, 80


def range_test(net, batches: Iterable) -> tuple[float, dict[str, np.ndarray]]:
    """Return a learning rate for ``net`` and the curve that it was read from.

    The rate grows by a constant factor at each of 80 steps, the loss is smoothed, and
    the answer is a tenth of the rate at its minimum [1]_. Weights, statistics and
    optimiser are as before afterwards.

    Parameters
    ----------
    net : skorch.NeuralNet
        An initialised net whose optimiser's groups hold rates relative to 1.
    batches : iterable
        Training batches; started again when used up.

    References
    ----------
    .. [1] L. N. Smith, "Cyclical learning rates for training neural networks",
       WACV 2017.
    """
    state = copy.deepcopy(net.module_.state_dict())
    rates = np.geomspace(LOWEST, HIGHEST, N_STEPS)
    remember_rates(net.optimizer_)
    losses = list(_losses(net, net.optimizer_, rates, _endless(batches)))
    net.module_.load_state_dict(state)
    smooth = _smooth(losses)
    curve = {"lr": rates[: len(losses)], "loss": smooth}
    return float(curve["lr"][int(np.argmin(smooth))] / 10), curve


def _losses(
    net, optimizer: Optimizer, rates: np.ndarray, batches: Iterator
) -> Iterator[float]:
    """Take one step at each rate and yield its loss, until it explodes."""
    lowest = math.inf
    for rate, batch in zip(rates, batches, strict=False):
        scale_rates(optimizer, float(rate))
        optimizer.zero_grad()
        loss = net.train_step_single(batch)["loss"].item()
        optimizer.step()
        lowest = min(lowest, loss)
        if not math.isfinite(loss) or loss > 4 * lowest + 1:
            return
        yield loss


def _endless(batches: Iterable) -> Iterator:
    while True:
        yield from batches


def _smooth(losses: list[float], memory: float = 0.9) -> np.ndarray:
    """Return exponential means of the losses, corrected for their start at 0."""
    mean, smooth = 0.0, []
    for i, loss in enumerate(losses, start=1):
        mean = memory * mean + (1 - memory) * loss
        smooth.append(mean / (1 - memory**i))
    return np.array(smooth)
