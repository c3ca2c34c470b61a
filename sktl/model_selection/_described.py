"""Features of all images of a data set, and what it cost to compute them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from sktl.engine import images_embedded
from sktl.exceptions import UnreadableImageError
from sktl.features import PretrainedFeatures

# The first images load the network and warm it up; the speed is that of the others.
_WARM_UP = 8
_TIMED = 32


@dataclass(frozen=True)
class Described:
    """Images as a matrix.

    Parameters
    ----------
    transformer : estimator
        The fitted transformer.
    features : ndarray of shape (n_samples, n_features)
        Its output.
    seconds : float
        Time that it took, whatever was in the cache.
    embedded : int
        Images that went through a network.
    ms_per_image : float
        Time for one image once the network is loaded, nothing coming from a cache.
    """

    transformer: BaseEstimator
    features: np.ndarray
    seconds: float
    embedded: int
    ms_per_image: float

    def without_features(self) -> Described:
        """Return the same facts without the matrix, which may be large."""
        return replace(self, features=np.empty((0, self.features.shape[1])))


def describe(transformer: BaseEstimator, X) -> Described:
    """Return the features of X, each image computed once where there is a cache."""
    n = _num_samples(X)
    before, started = images_embedded(), time.perf_counter()
    transformer = clone(transformer).fit(X)
    warm_up = min(_WARM_UP, n)
    with contextlib.suppress(UnreadableImageError):  # what follows names all of them
        transformer.transform(_rows(X, 0, warm_up))
    halfway, began_rest = images_embedded(), time.perf_counter()
    features = transformer.transform(X)
    ended = time.perf_counter()
    embedded, now = images_embedded() - before, images_embedded() - halfway
    if not isinstance(transformer, PretrainedFeatures):
        ms_per_image = 1000 * (ended - began_rest) / n
    elif now >= max(n // 2, _WARM_UP):
        ms_per_image = 1000 * (ended - began_rest) / now
    else:
        ms_per_image = _speed(transformer, X)  # most came from the cache
    return Described(
        transformer,
        features,
        ended - started,
        embedded,
        ms_per_image,
    )


def _speed(transformer: PretrainedFeatures, X) -> float:
    """Return milliseconds per image of a network, on a few images, without cache."""
    uncached = clone(transformer).set_params(cache=None, verbose=0).fit(X)
    n = min(_num_samples(X), _TIMED)
    uncached.transform(_rows(X, 0, min(n, _WARM_UP)))
    started = time.perf_counter()
    uncached.transform(_rows(X, 0, n))
    return 1000 * (time.perf_counter() - started) / n


def _rows(X, start: int, stop: int):
    """Return some rows of X, whatever X is."""
    return _safe_indexing(X, np.arange(start, stop))
