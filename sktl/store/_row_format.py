"""The layout of one row of activations on disk: a header, the values, a checksum.

Nothing in a row can be executed: it is a shape and numbers. The checksum
covers the key too, so a row that a damaged index returns for another key is refused.
"""

from __future__ import annotations

import math
import struct

import numpy as np
from blake3 import blake3

_FLOAT32, _BFLOAT16, _FLOAT16 = range(3)
_CHECKSUM_BYTES = 8
_MAX_NDIM = 8


class CorruptRowError(ValueError):
    """The stored bytes are not those that were written."""


def encode_row(key: bytes, row: np.ndarray) -> bytes:
    """Return ``row`` as bytes; float32 values survive exactly."""
    kind, data = _FLOAT32, np.ascontiguousarray(row, dtype="<f4")
    bits = data.view("<u4")
    # Networks that run in 16 bits emit values that fit in 16 bits: half the space.
    if not (bits & 0xFFFF).any():
        kind, data = _BFLOAT16, (bits >> 16).astype("<u2")
    elif not (bits & 0x1FFF).any():
        with np.errstate(over="ignore"):
            half = data.astype("<f2")
        if np.array_equal(half.astype("<f4"), data):
            kind, data = _FLOAT16, half
    body = struct.pack(f"<BB{row.ndim}I", kind, row.ndim, *row.shape) + data.tobytes()
    return body + _checksum(key, body)


def decode_row(key: bytes, blob: bytes) -> np.ndarray:
    """Return the row that was stored under ``key``, or raise ``CorruptRowError``."""
    if len(blob) < 2 + _CHECKSUM_BYTES:
        raise CorruptRowError("too short")
    body = memoryview(blob)[:-_CHECKSUM_BYTES]
    if _checksum(key, body) != blob[-_CHECKSUM_BYTES:]:
        raise CorruptRowError("checksum")
    kind, ndim = struct.unpack_from("<BB", body)
    if kind > _FLOAT16 or ndim > _MAX_NDIM:
        raise CorruptRowError("header")
    shape = struct.unpack_from(f"<{ndim}I", body, 2)
    data = body[2 + 4 * ndim :]
    if len(data) != math.prod(shape) * (4 if kind == _FLOAT32 else 2):
        raise CorruptRowError("length")
    if kind == _FLOAT32:
        row = np.frombuffer(data, dtype="<f4")
    elif kind == _BFLOAT16:
        row = (np.frombuffer(data, dtype="<u2").astype("<u4") << 16).view("<f4")
    else:
        row = np.frombuffer(data, dtype="<f2").astype("<f4")
    return row.reshape(shape)


def _checksum(key: bytes, body: bytes | memoryview) -> bytes:
    """Return eight bytes that change when any bit of the row does."""
    return blake3(body).update(key).digest(_CHECKSUM_BYTES)
