"""Parameters and small arrays as JSON, and back; nothing else passes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np

from sktl.exceptions import ModelFileError

_ARRAY_KINDS = "biufUO"
_MOST_BYTES = 1 << 16  # of one value: a class name of 16000 letters


class NotPlainError(TypeError):
    """A value is no plain data."""


def to_plain(value):
    """Return a value as what JSON can hold; tuples and arrays are marked as such."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and np.isfinite(value):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple):
        return {"tuple": [to_plain(item) for item in value]}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        pairs = [[to_plain(key), to_plain(item)] for key, item in value.items()]
        return {"dict": pairs}
    if isinstance(value, np.ndarray) and value.dtype.kind in _ARRAY_KINDS:
        return {
            "array": [to_plain(item) for item in value.ravel().tolist()],
            "shape": list(value.shape),
            "dtype": value.dtype.str,
        }
    raise NotPlainError(f"{value!r} is a {type(value).__name__}, not plain data")


def from_plain(value):
    """Return the value that :func:`to_plain` was given."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"tuple"}:
        return tuple(from_plain(value["tuple"]))
    if set(value) == {"dict"}:
        return {from_plain(key): from_plain(item) for key, item in value["dict"]}
    if set(value) == {"array", "shape", "dtype"}:
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in _ARRAY_KINDS or dtype.itemsize > _MOST_BYTES:
            raise ModelFileError(f"A model file holds an array of {dtype}.")
        array = np.empty(len(value["array"]), dtype=dtype)
        array[:] = from_plain(value["array"])
        return array.reshape(value["shape"])
    raise ModelFileError(f"A model file holds an unknown kind of value: {set(value)}.")
