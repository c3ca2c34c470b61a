"""``EmbeddingStore``: embeddings on disk, to share between runs and projects."""

from __future__ import annotations

import os
from numbers import Integral

from sktl.store._session_folder import session_folder
from sktl.store._store_folder import RowStore, StoreFolder, store_folder


def cache_root() -> str:
    """Return the folder for lasting files: ``SKTL_CACHE_DIR``, or the user's cache."""
    if root := os.environ.get("SKTL_CACHE_DIR"):
        return os.path.expanduser(root)
    from platformdirs import user_cache_dir

    return user_cache_dir("sktl", appauthor=False)


class EmbeddingStore:
    """Embeddings on disk, to share between runs, processes and projects.

    Pass it as ``cache=`` to any estimator of sktl. Rows are keyed by the content of
    the image and by everything that changes the numbers, so one store serves all data
    sets and backbones, and nothing in it can go stale.

    Parameters
    ----------
    path : str or path, default=None
        The folder; it is created when the first row is stored, readable only by its
        owner. ``None`` is ``embeddings`` in the folder named by the environment
        variable ``SKTL_CACHE_DIR``, or in the user's cache folder.
    max_bytes : int, default=None
        Size beyond which the least recently used rows are dropped. ``None`` is a tenth
        of the free disk space, 8 GiB at most.

    Notes
    -----
    Any number of threads and processes of one machine may use the store at once. If one
    is computing a row, the others wait for it. Killing any of them loses at most its
    current batch. Checksums detect damaged rows, which are computed again.
    If the disk is full or read-only, there is one
    :class:`~sktl.exceptions.CacheWarning`, and embeddings are computed as without a
    store. Reading a store that came from someone else executes nothing.

    Examples
    --------
    >>> import tempfile
    >>> from sktl import EmbeddingStore
    >>> store = EmbeddingStore(tempfile.mkdtemp())
    >>> store.info()["rows"]
    0
    """

    def __init__(
        self, path: str | os.PathLike | None = None, max_bytes: int | None = None
    ):
        if path is None:
            path = os.path.join(cache_root(), "embeddings")
        if max_bytes is not None and (
            not isinstance(max_bytes, Integral) or max_bytes <= 0
        ):
            raise ValueError(f"max_bytes={max_bytes!r} is not a positive whole number.")
        self.path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        self.max_bytes = max_bytes

    def __repr__(self) -> str:
        bound = "" if self.max_bytes is None else f", max_bytes={self.max_bytes}"
        return f"EmbeddingStore({self.path!r}{bound})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EmbeddingStore) and (
            (self.path, self.max_bytes) == (other.path, other.max_bytes)
        )

    def __hash__(self) -> int:
        return hash((self.path, self.max_bytes))

    def info(self) -> dict:
        """Return what the store holds.

        Returns
        -------
        dict
            ``path``; ``rows`` held; ``bytes`` in use and ``max_bytes``; ``computed``,
            the number of images that have gone through a network for this store.
        """
        folder = self._folder()
        size = {"max_bytes": folder.max_bytes}
        return {"path": self.path, **folder.figures(), **size}

    def prune(self, max_bytes: int | None = None) -> int:
        """Drop the least recently used rows, and files set aside as damaged.

        Parameters
        ----------
        max_bytes : int, default=None
            Size to shrink to; ``None`` is the store's own limit.

        Returns
        -------
        int
            Number of rows dropped.
        """
        return self._folder().prune(max_bytes)

    def clear(self) -> None:
        """Drop every row."""
        self._folder().clear()

    def _folder(self) -> StoreFolder:
        """Return the folder as this process sees it."""
        return store_folder(self.path, max_bytes=self.max_bytes, lasting=True)


def open_store(cache) -> RowStore:
    """Return the store that ``cache=`` asks for."""
    if cache is None:
        return RowStore()
    if isinstance(cache, EmbeddingStore):
        return cache._folder()
    if isinstance(cache, str) and cache == "session":
        return store_folder(session_folder(), max_bytes=None, lasting=False)
    if isinstance(cache, str | os.PathLike):
        return EmbeddingStore(cache)._folder()
    raise ValueError(
        f"cache={cache!r} is not understood. Accepted are 'session', None, a path "
        "and an EmbeddingStore."
    )
