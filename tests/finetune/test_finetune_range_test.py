"""What ``lr="find"`` finds, and that looking for it leaves no trace."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sktl import FineTunedClassifier, FineTunedRegressor
from sktl.finetune._find_rate import RATES, _read, range_test
from sktl.finetune._run import TrainingRun


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200].reshape(-1, 8, 8), y[:200]


@pytest.fixture(scope="module")
def numbers():
    """Return images and numbers that no head predicts well."""
    X, y = load_digits(return_X_y=True)
    noise = np.random.default_rng(1).normal(size=400)
    return X[:400].reshape(-1, 8, 8), np.sin(y[:400]) + 0.3 * noise


def classifier(**params):
    defaults = {"lr": "find", "max_epochs": 0, "augment": "none", "random_state": 0}
    return FineTunedClassifier("lenet5", **{**defaults, **params})


def spread(rates):
    return max(rates) / min(rates)


# ----- reading a curve


def test_half_way_down_is_the_rate_of_a_falling_loss():
    position = np.log10(RATES)
    # Half way at 10^-2.5, the minimum around 10^-1.5, then up.
    change = -0.9 / (1 + np.exp(-8 * (position + 2.5)))
    change += np.where(position > -1, 30 * (position + 1), 0)
    assert _read(change) == pytest.approx(10**-2.5, rel=0.15)


@pytest.mark.parametrize("noise", [0, 0.15])
def test_tenth_of_the_break_is_the_rate_of_a_flat_loss(noise):
    change = noise * np.sin(np.arange(100) * 2.4)
    change[60:] += 5
    assert _read(change) == pytest.approx(RATES[60] / 10)
    # Where the loss blows up the curve just ends.
    assert _read(change[:60]) == pytest.approx(RATES[60] / 10)


def test_curve_that_tells_nothing_leaves_the_default():
    assert _read(np.zeros(100)) == 1e-3


def test_rates_have_bounds():
    falling, broken = np.full(100, -0.9), np.zeros(100)
    falling[:98] = 0
    assert _read(falling) == 0.1
    broken[3:] = 5
    assert _read(broken) == 1e-5


# ----- on networks


@pytest.mark.parametrize("unfreeze", ["head", 1])
def test_random_head_learns_with_the_rate_that_is_found(digits, unfreeze):
    X, y = digits
    params = {"head_init": "random", "unfreeze": unfreeze}
    nets = [classifier(random_state=seed, **params).fit(X, y) for seed in range(4)]
    rates = [net.lr_ for net in nets]
    assert spread(rates) < 2.5
    assert min(rates) > 1e-3
    assert max(rates) < 2e-2
    curve = nets[0].lr_curve_
    half = np.interp(rates[0], curve["lr"], curve["loss"])
    assert half < 0.6 * curve["loss"][0]
    found, default = (
        classifier(lr=lr, max_epochs=10, **params).fit(X, y).score(X, y)
        for lr in ("find", 1e-3)
    )
    assert found > default + 0.1


@pytest.mark.parametrize("unfreeze", ["head", 1])
def test_rate_for_a_solved_head_does_not_hang_on_the_seed(numbers, unfreeze):
    X, y = numbers
    params = {"augment": "none", "unfreeze": unfreeze, "max_epochs": 0, "lr": "find"}
    nets = [
        FineTunedRegressor("lenet5", random_state=seed, **params).fit(X, y)
        for seed in range(6)
    ]
    rates = [net.lr_ for net in nets]
    assert spread(rates) < 5
    assert min(rates) > 1e-3
    assert max(rates) < 2e-2


def test_training_at_the_rate_that_is_found_keeps_a_solved_head(numbers):
    X, y = numbers
    for seed in range(3):
        params = {"augment": "none", "unfreeze": 1, "random_state": seed}
        losses = [
            np.mean((net.fit(X[:300], y[:300]).predict(X[300:]) - y[300:]) ** 2)
            for net in (
                FineTunedRegressor("lenet5", lr="find", max_epochs=5, **params),
                FineTunedRegressor("lenet5", max_epochs=0, **params),
            )
        ]
        assert losses[0] < 1.15 * losses[1]


class Dropping(torch.nn.Sequential):
    """A head with dropout."""

    def __init__(self, n_features, n_outputs):
        super().__init__(torch.nn.Dropout(0.5), torch.nn.Linear(n_features, n_outputs))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mixup": 0.4},
        {"head": Dropping, "head_init": "random"},
        {"optimizer": torch.optim.SGD, "label_smoothing": 0.1},
    ],
    ids=["plain", "mixup", "dropout", "smoothing"],
)
def test_curve_shows_training_and_not_which_batch_it_was(digits, params):
    X, y = digits
    curve = classifier(batch_size=8, **params).fit(X, y).lr_curve_
    assert len(curve["lr"]) == len(curve["loss"]) > 10
    start = curve["loss"][:15]
    # Losses of batches as they are differ by a factor of ten.
    assert np.ptp(start) < 0.1 * start.mean()


# ----- no trace


@pytest.mark.parametrize("params", [{}, {"mixup": 0.4}, {"weights": None}])
def test_looking_for_a_rate_leaves_no_trace(digits, params):
    X, y = digits
    params = {"max_epochs": 1, "head_init": "random", **params}
    found = classifier(**params).fit(X, y)
    plain = classifier(lr=found.lr_, **params).fit(X, y)
    for name, value in found.module_.state_dict().items():
        torch.testing.assert_close(value, plain.module_.state_dict()[name])


class Breaking(torch.optim.AdamW):
    """An optimiser that is interrupted where rates are high."""

    def step(self, closure=None):
        self.n_steps = getattr(self, "n_steps", 0) + 1
        if self.n_steps == 80:
            raise KeyboardInterrupt
        return super().step(closure)


@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_interrupt_leaves_the_weights_and_sane_rates(digits, mixup):
    X, y = digits
    net = classifier(unfreeze=2, optimizer=Breaking, mixup=mixup, max_epochs=1)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y)
    assert net.optimizer_.n_steps == 80
    probe = classifier(unfreeze=2, lr=1e-3).fit(X, y)
    for name, value in probe.module_.state_dict().items():
        torch.testing.assert_close(net.module_.state_dict()[name], value)
    assert all(p.requires_grad and p.grad is None for p in net.module_.parameters())
    for group in net.optimizer_.param_groups:
        assert group["lr"] == pytest.approx(1e-3 * 0.3 ** group["depth"])
    assert not net.optimizer_.state


class Failing(torch.nn.CrossEntropyLoss):
    """A loss that fails at its last call."""

    n_calls = 0
    last = 0

    def forward(self, *args):
        Failing.n_calls += 1
        if Failing.n_calls == Failing.last:
            raise RuntimeError("out of memory")
        return super().forward(*args)


# One of the two is the loss of the network as it was.
@pytest.mark.parametrize("last", [80, 81])
def test_failure_leaves_the_network_that_is_optimised(digits, last, monkeypatch):
    X, y = digits
    monkeypatch.setattr(Failing, "n_calls", 0)
    monkeypatch.setattr(Failing, "last", last)
    net = classifier(unfreeze=2, criterion=Failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        net.fit(X, y)
    held = {id(p) for p in net.module_.parameters()}
    assert held == {id(p) for g in net.optimizer_.param_groups for p in g["params"]}


def test_rate_of_the_user_s_own_is_not_tested(digits):
    X, y = digits
    seen = []

    class Noting(torch.optim.AdamW):
        def step(self, closure=None):
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    own = [("head.bias", {"lr": 2e-4})]
    classifier(optimizer=Noting, optimizer__param_groups=own).fit(X, y)
    seen = np.array(seen)
    np.testing.assert_allclose(seen[:, 0], 2e-4)
    assert seen[-1, 1] > 100 * seen[0, 1]


def test_no_batches_leave_the_default(digits):
    X, y = digits
    net = classifier(lr=1e-3).fit(X, y)
    net._run = TrainingRun(1, "cosine", 0.1, 0, None)
    rate, curve = range_test(net, [])
    assert rate == 1e-3
    assert not len(curve["lr"])
