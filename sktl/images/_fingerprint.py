"""Identify an image by 16 bytes of its content, the same in every process and run."""

import os
import threading
import time

import numpy as np
from blake3 import blake3
from cachetools import LRUCache

from sktl.exceptions import UnreadableImageError
from sktl.images._decode import ENCODED, read_file

SIZE = 16
# A file that changed less than two seconds ago (the coarsest clock of a file system,
# FAT) may change again under the same timestamp; its fingerprint is not remembered.
_SETTLED_NS = 2_000_000_000

_remembered: LRUCache = LRUCache(200_000)  # files
_guard = threading.Lock()


def of_bytes(data: ENCODED) -> bytes:
    """Return the fingerprint of an encoded image."""
    return blake3(data).digest(SIZE)


def of_file(path: str) -> bytes:
    """Return the fingerprint of a file's bytes, read once for each state of a file."""
    try:
        state = os.stat(os.path.expanduser(path))
    except (OSError, ValueError):
        return of_bytes(read_file(path))  # which says what is wrong with the path
    times = state.st_mtime_ns, state.st_ctime_ns
    key = (state.st_dev, state.st_ino, state.st_size, *times)
    with _guard:
        known = _remembered.get(key)
    if known is not None:
        return known
    data = read_file(path)
    fingerprint = of_bytes(data)
    if time.time_ns() - max(times) > _SETTLED_NS and len(data) == state.st_size:
        with _guard:
            _remembered[key] = fingerprint
    return fingerprint


def of_pixels(pixels: np.ndarray) -> bytes:
    """Return the fingerprint of decoded pixels: their type, shape and values."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if not pixels.size:
        raise UnreadableImageError(f"has no pixels (shape {pixels.shape})")
    digest = blake3(f"pixels {pixels.dtype.str} {pixels.shape}\n".encode())
    digest.update(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    return digest.digest(SIZE)
