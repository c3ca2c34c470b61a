"""Compiled networks on disk: a second process loads in 0.1 s what took seconds to make.

They lie in the user's own cache folder, never in an embedding store, which may come
from somebody else. A checksum keeps a damaged file from giving wrong numbers.
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


def _path(part: FrozenPart, suffix: str) -> Path:
    """Return where the network of ``part`` lies."""
    name = hashlib.blake2b(
        f"{_openvino_version()} {part.key}".encode(), digest_size=16
    ).hexdigest()
    return Path(cache_root(), "networks", name + suffix)


def read_compiled(part: FrozenPart) -> bytes | None:
    """Return the compiled network of ``part``, or None."""
    path = _path(part, ".blob")
    try:
        data = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    checksum, body = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    return body if blake3(body).digest(_CHECKSUM_BYTES) == checksum else None


def has_compiled(part: FrozenPart) -> bool:
    """Tell whether the network of ``part`` lies on disk."""
    return _path(part, ".blob").exists()


def write_compiled(part: FrozenPart, blob: bytes) -> None:
    """Keep the compiled network of ``part``, if the disk allows."""
    _write(_path(part, ".blob"), blake3(blob).digest(_CHECKSUM_BYTES) + blob)


def is_known_to_fail(part: FrozenPart) -> bool:
    """Tell whether a process has found that OpenVINO cannot run this network."""
    return _path(part, ".failed").exists()


def remember_failure(part: FrozenPart, reason: str) -> None:
    """Spare other processes the attempt."""
    _write(_path(part, ".failed"), reason.encode())


def _write(path: Path, data: bytes) -> None:
    """Write a file for its owner only, and drop others beyond a few gigabytes."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.chmod(0o600)
            partial.write_bytes(data)
        files = [(file.stat(), file) for file in path.parent.iterdir()]
        excess = sum(info.st_size for info, _ in files) - _MAX_BYTES
        for info, file in sorted(files, key=lambda item: item[0].st_mtime):
            if excess <= 0:
                break
            file.unlink(missing_ok=True)
            excess -= info.st_size
