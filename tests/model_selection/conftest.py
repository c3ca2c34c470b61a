"""Digits that the tests of this folder share."""

import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits():
    """Return 120 digits of four classes, and their classes."""
    X, y = load_digits(n_class=4, return_X_y=True)
    return X[:120], y[:120]
