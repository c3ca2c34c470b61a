"""Images, small estimators and the sides of the inner split, for all tests here."""

import signal

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sktl import FineTunedClassifier, FineTunedRegressor
from sktl.finetune import _fit


@pytest.fixture(scope="session")
def digits():
    """Return 200 images of 8 x 8 grey pixels and their digits."""
    X, y = load_digits(return_X_y=True)
    return X[:200].reshape(-1, 8, 8).astype(np.uint8) * 15, y[:200]


def _small(cls):
    def make(**params):
        defaults = {"max_epochs": 2, "augment": "none", "random_state": 0}
        return cls(**{"backbone": "lenet5", **defaults, **params})

    return make


@pytest.fixture(scope="session")
def classifier():
    """Return a function that makes a classifier which trains in no time."""
    return _small(FineTunedClassifier)


@pytest.fixture(scope="session")
def regressor():
    """Return the same for numbers."""
    return _small(FineTunedRegressor)


@pytest.fixture(autouse=True)
def terminal():
    """Let Ctrl-C interrupt, as in a terminal: jobs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def sides(monkeypatch):
    """Return a list that gets the two sides of each inner split."""
    divide, found = _fit._divide, []

    def remember(*args):
        train, valid, whole = divide(*args)
        found.append((train, valid))
        return train, valid, whole

    monkeypatch.setattr(_fit, "_divide", remember)
    return found
