"""The learning-rate range test: train while the rate grows, see where it breaks."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator

import numpy as np

from sktl.finetune._rates import set_rates
from sktl.finetune._run import own_random_state

RATES = np.geomspace(1e-5, 1.0, 100)
DEFAULT, LOWEST, HIGHEST = 1e-3, 1e-5, 0.1


def range_test(net, batches: Iterable) -> tuple[float, dict[str, np.ndarray]]:
    """Return a learning rate for ``net`` and the curve that it was read from.

    The rate grows by a constant factor at each of 100 steps [1]_, and each batch is
    also shown to the network as it was: what is left is what training did, without
    the ups and downs of batches.

    - Where the loss falls, as that of a random head, the answer is the rate at which
      it has gone half of the way to its lowest.
    - Where it stays, as that of a head which is solved already, the answer is a tenth
      of the rate at which it has doubled.
    - Where it does neither, the answer is the default rate, 1e-3.

    It lies between 1e-5 and 0.1. Weights, statistics and optimiser are as before
    afterwards, also after an exception, but for the rates: the optimiser has those that
    follow from the answer, or else from the default.

    Parameters
    ----------
    net : FineTuned
        An initialised net in a training run.
    batches : iterable
        Training batches; started again when used up.

    Returns
    -------
    rate : float
        The learning rate of the head.
    curve : dict of ndarray
        Rates under ``"lr"``, and under ``"loss"`` what the loss of an average batch
        was at each, a running median.

    References
    ----------
    .. [1] L. N. Smith, "Cyclical learning rates for training neural networks",
       WACV 2017.
    """
    run, module, optimizer = net._run, net.module_, net.optimizer_
    mixing = run.mixing
    weights, moments = copy.deepcopy((module.state_dict(), optimizer.state_dict()))
    rate = DEFAULT
    try:
        losses = np.array(list(_losses(net, batches))).reshape(-1, 2)
        if not len(losses):
            return rate, {"lr": RATES[:0], "loss": RATES[:0]}
        before, now = losses.T
        change = _running_median(now - before)
        # A loss below 1e-6 is rounding.
        rate = _read(change / max(np.abs(before).mean(), 1e-6))
    finally:
        net.module_, run.mixing = module, mixing
        module.load_state_dict(weights)
        optimizer.load_state_dict(moments)
        optimizer.zero_grad()
        set_rates(optimizer, rate, net.lr_decay)
    return rate, {"lr": RATES[: len(change)], "loss": before.mean() + change}


def _losses(net, batches: Iterable) -> Iterator[tuple[float, float]]:
    """Take a step at each rate; yield the loss before training and now, until it blows.

    What is drawn, dropout and mixing, is the same for both.
    """
    run, trained, optimizer = net._run, net.module_, net.optimizer_
    untouched = copy.deepcopy(trained)
    if any(parameter.requires_grad for parameter in untouched.head.parameters()):
        # Nobody needs its gradients, and those of the head cost next to nothing.
        untouched.stages.requires_grad_(False)
    total = 0.0
    for number, (rate, batch) in enumerate(zip(RATES, _endless(batches), strict=False)):
        set_rates(optimizer, float(rate), net.lr_decay)
        optimizer.zero_grad()
        mixing, pair = run.mixing, []
        for module in (untouched, trained):
            net.module_, run.mixing = module, copy.deepcopy(mixing)
            with own_random_state(number, net.device):
                pair.append(net.train_step_single(batch)["loss"].item())
        optimizer.step()
        before, now = pair
        total += abs(before)
        if not math.isfinite(now) or now - before > 3 * total / (number + 1) + 1:
            return
        yield before, now


def _endless(batches: Iterable) -> Iterator:
    """Yield batches over and over, if there are any."""
    batch = None
    while True:
        for batch in batches:
            yield batch
        if batch is None:
            return


def _read(change: np.ndarray) -> float:
    """Return the rate that a curve speaks for; losses begin at 0 and double at 1."""
    doubled = np.flatnonzero(change > 1)
    end = int(doubled[0]) if len(doubled) else len(change)
    lowest = change[:end].min(initial=0)
    # A fall of less than a fifth may be the chance of a few lucky batches.
    # benchmarks/find_rate.py shows how far the rates of several draws lie apart.
    if lowest < -0.2:
        rate = RATES[int(np.argmax(change <= lowest / 2))]
    elif end < len(RATES):
        rate = RATES[end] / 10
    else:
        rate = DEFAULT
    return float(np.clip(rate, LOWEST, HIGHEST))


def _running_median(values: np.ndarray, reach: int = 4) -> np.ndarray:
    """Return the median of each value and its neighbours: a mean would lag behind."""
    return np.array(
        [
            np.median(values[max(0, i - reach) : i + reach + 1])
            for i in range(len(values))
        ]
    )
