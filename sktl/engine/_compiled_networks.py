"""Compiled networks on disk: a second process loads in 0.1 s what took seconds to make.

They are kept in the user's own cache folder, never in an embedding store, which may
come from someone else. A checksum keeps a damaged file from giving wrong numbers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from blake3 import blake3

from sktl._whole_file import whole_file
from sktl.engine._frozen_part import FrozenPart
from sktl.store import cache_root

_CHECKSUM_BYTES = 32
_MAX_BYTES = 4 * 2**30


@lru_cache(maxsize=1)
def _openvino_version() -> str:
    """Return the version without importing the package."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def compiled_file(part: FrozenPart) -> Path:
    """Return the file of the compiled network of ``part``, which need not exist."""
    text = f"{_openvino_version()} {part.key}".encode()
    name = hashlib.blake2b(text, digest_size=16).hexdigest()
    return Path(cache_root(), "networks", name + ".blob")


def failure_file(part: FrozenPart) -> Path:
    """Return the file whose presence says that OpenVINO cannot run this network."""
    return compiled_file(part).with_suffix(".failed")


def read_checked(path: Path) -> bytes | None:
    """Return what was written, or None if it is missing or damaged."""
    try:
        data = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    checksum, body = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    return body if blake3(body).digest(_CHECKSUM_BYTES) == checksum else None


def write_checked(path: Path, body: bytes) -> None:
    """Write a file for its owner only, and drop old ones beyond a few gigabytes."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.chmod(0o600)
            partial.write_bytes(blake3(body).digest(_CHECKSUM_BYTES) + body)
        files = [(file.stat(), file) for file in path.parent.iterdir()]
        excess = sum(info.st_size for info, _ in files) - _MAX_BYTES
        for info, file in sorted(files, key=lambda item: item[0].st_mtime):
            if excess <= 0:
                break
            file.unlink(missing_ok=True)
            excess -= info.st_size
