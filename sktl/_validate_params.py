"""scikit-learn's ``validate_params``, typed to keep the signature it decorates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sklearn.utils._param_validation import validate_params as _validate_params

_F = TypeVar("_F", bound=Callable)


def validate_params(constraints: dict) -> Callable[[_F], _F]:
    """Check the arguments of a function on each call, but not in nested calls."""
    return _validate_params(constraints, prefer_skip_nested_validation=True)
