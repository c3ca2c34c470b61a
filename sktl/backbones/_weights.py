"""Which weights a network gets: where they lie and what identifies them.

Nothing here imports torch: a process that finds all its embeddings in the store has to
identify the weights, not to load them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from numbers import Integral
from pathlib import Path

import numpy as np

from sktl.backbones._download import download
from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError


@dataclass(frozen=True)
class RandomWeights:
    """Weights drawn from a seed."""

    seed: int

    @property
    def fingerprint(self) -> str:
        """Seed and version of torch, whose generators and initialisers may change."""
        return f"random:{self.seed}:torch-{_torch_version()}"


@lru_cache(maxsize=1)
def _torch_version() -> str:
    """Return the version without importing torch; looking it up takes 2 ms."""
    return version("torch")


@dataclass(frozen=True)
class WeightsFile:
    """A file of the user's, with the SHA-256 it had when the backbone was resolved."""

    path: str
    digest: str
    published: str | None = None  # a file has the recipe of the default weights

    @classmethod
    def at(cls, path: str | os.PathLike, *, name: str) -> WeightsFile:
        """Return the file at ``path``, meant for the backbone called ``name``."""
        path = Path(path).expanduser().absolute()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise WeightsUnavailableError(
                f"weights={str(path)!r} for backbone {name!r} {what}. Give the path of "
                "a .pth or .safetensors file with the state_dict of the network."
            )
        return cls(str(path), sha256(path))

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the file."""
        return f"sha256:{self.digest}"

    def locate(self) -> Path:
        """Return the path of the file, after checking that it is still the same."""
        path = Path(self.path)
        if not path.is_file():
            raise WeightsUnavailableError(
                f"The weights file {self.path!r} is not there. A fitted estimator "
                "needs the file it was fitted with; put it back or fit again."
            )
        found = sha256(path)
        if found != self.digest:
            raise WeightsMismatchError(
                f"The weights file {self.path!r} has changed: its SHA-256 is {found}, "
                f"expected {self.digest}. Put the original file back, or fit again "
                "to use the new one."
            )
        return path


@dataclass(frozen=True)
class BundledFile:
    """A file inside the package, with the digest recorded when it was made."""

    file: str
    digest: str
    published: str

    @property
    def fingerprint(self) -> str:
        """The recorded SHA-256."""
        return f"sha256:{self.digest}"

    def fetch(self, name: str) -> None:
        """Check that the installation is complete."""
        if not self._path.is_file():
            raise WeightsUnavailableError(
                f"The bundled weights of {name!r} are missing from this installation "
                f"of sktl ({self._path}). Install it again, or use weights=<path>, or "
                "weights=None (random)."
            )

    def locate(self) -> Path:
        """Return the path of the file, its hash checked."""
        self.fetch(self.file)
        found = sha256(self._path)
        if found != self.digest:
            raise WeightsMismatchError(
                f"The bundled weights {str(self._path)!r} were altered: their SHA-256 "
                f"is {found}, expected {self.digest}. Install sktl again."
            )
        return self._path

    @property
    def _path(self) -> Path:
        return Path(__file__).with_name("weights") / self.file


@dataclass(frozen=True)
class PublishedFile:
    """A file that torchvision publishes, in torch's own download folder."""

    published: str
    file: str
    url: str
    prefix: str

    @property
    def fingerprint(self) -> str:
        """The published start of the SHA-256, checked when the file is loaded."""
        return f"published:{self.file}"

    def fetch(self, name: str) -> None:
        """Download the file unless it is on this machine."""
        path = download_folder() / self.file
        if not path.is_file():
            try:
                download(self.url, path, self.prefix)
            except OSError as error:
                raise WeightsUnavailableError(
                    f"The weights {self.published!r} of backbone {name!r} are not on "
                    f"this machine and could not be downloaded ({error}). Place "
                    f"{self.file} (from {self.url}) in {path.parent}, or set "
                    "TORCH_HOME. Without it: backbone='pocket' or 'lenet5' (weights "
                    "inside the package), weights=<path of a file>, or weights=None "
                    "(random)."
                ) from error

    def locate(self) -> Path:
        """Return the path of the file, downloaded if need be, its hash checked."""
        self.fetch(self.file)
        path = download_folder() / self.file
        found = sha256(path)
        if not found.startswith(self.prefix):
            raise WeightsMismatchError(
                f"{str(path)!r} is not the published file: its SHA-256 begins with "
                f"{found[: len(self.prefix)]}, expected {self.prefix}. Delete it, so "
                "that it is downloaded again."
            )
        return path


def download_folder() -> Path:
    """Return the folder where torch keeps downloaded weights, without torch."""
    if "torch" in sys.modules:
        # Honours torch.hub.set_dir.
        return Path(sys.modules["torch"].hub.get_dir()) / "checkpoints"
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    home = os.getenv("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


_digests: dict[tuple[str, int, int], str] = {}
_digests_lock = threading.Lock()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, remembered while its size and time stay."""
    try:
        seen = path.stat()
        key = (str(path), seen.st_size, seen.st_mtime_ns)
        with _digests_lock:
            known = _digests.get(key)
        if known is None:
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            known = digest.hexdigest()
            with _digests_lock:
                _digests[key] = known
    except OSError as error:
        raise WeightsUnavailableError(
            f"The weights file {str(path)!r} cannot be read: {error}."
        ) from error
    return known


def seed_from(random_state) -> int:
    """Return the seed that ``random_state`` stands for; None draws a fresh one.

    A ``RandomState`` is advanced, as scikit-learn's estimators do; the global state
    of numpy is left alone.
    """
    if random_state is None:
        return secrets.randbelow(2**31)
    if isinstance(random_state, Integral):
        if not 0 <= random_state < 2**32:
            raise ValueError(
                f"random_state={random_state!r} has to lie in [0, 2**32 - 1]."
            )
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    raise ValueError(
        f"random_state={random_state!r} has to be an int, a numpy RandomState or None."
    )
