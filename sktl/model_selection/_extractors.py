"""The networks to choose from, as ``PretrainedFeatures``, and the cost of embedding."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from sktl.engine import images_embedded
from sktl.exceptions import UnreadableImageError
from sktl.features import PretrainedFeatures

# The first images load the network and warm it up; the others are timed.
_WARM_UP = 8
_TIMED = 32


def backbones_with_weights(backbones, weights) -> list[tuple]:
    """Return each backbone with its weights, which a dict gives by name."""
    backbones = [backbones] if isinstance(backbones, str) else list(backbones)
    if not backbones:
        raise ValueError("backbones is empty. Name at least one network.")
    if not isinstance(weights, Mapping):
        return [(backbone, weights) for backbone in backbones]
    names = [backbone for backbone in backbones if isinstance(backbone, str)]
    for name in weights:
        if name not in names:
            raise ValueError(
                f"weights names {name!r}, which is not among the backbones "
                f"({', '.join(map(repr, names))})."
            )
    return [
        (backbone, weights.get(backbone, "default") if backbone in names else "default")
        for backbone in backbones
    ]


def make_extractors(backbones, weights, **params) -> list[PretrainedFeatures]:
    """Return a transformer for each entry of ``backbones``."""
    return [
        clone(backbone)
        if isinstance(backbone, PretrainedFeatures)
        else PretrainedFeatures(backbone, weights=its_weights, **params)
        for backbone, its_weights in backbones_with_weights(backbones, weights)
    ]


def name_of_extractor(extractor: PretrainedFeatures) -> str:
    """Return the name of a transformer: its backbone and unusual settings."""
    name = extractor.backbone
    if not isinstance(name, str):
        name = getattr(name, "__name__", None) or type(name).__name__
    usual = PretrainedFeatures().get_params()
    unusual = [
        f"{key}={getattr(extractor, key)!r}"
        for key in ("layers", "pool", "image_size", "precision")
        if getattr(extractor, key) != usual[key]
    ]
    if extractor.weights is None:
        unusual.insert(0, "weights=None")
    return f"{name} ({', '.join(unusual)})" if unusual else name


@dataclass(frozen=True)
class Extraction:
    """A fitted transformer, and what it cost to compute the features of all images.

    ``ms_per_image`` is the time for one image with a warm network and no cache.
    """

    transformer: BaseEstimator
    n_features: int
    seconds: float
    embedded: int
    ms_per_image: float


def extract(transformer: BaseEstimator, X) -> tuple[np.ndarray, Extraction]:
    """Return the features of all images, and what they cost."""
    n = _num_samples(X)
    embedded, started = images_embedded(), time.perf_counter()
    transformer = clone(transformer).fit(X)
    # The second call reports all unreadable images at once.
    with contextlib.suppress(UnreadableImageError):
        transformer.transform(_safe_indexing(X, np.arange(min(_WARM_UP, n))))
    warm, started_rest = images_embedded(), time.perf_counter()
    features = transformer.transform(X)
    ended, now = time.perf_counter(), images_embedded()
    if not isinstance(transformer, PretrainedFeatures):
        ms_per_image = 1000 * (ended - started_rest) / n
    elif now - warm >= max(n // 2, _WARM_UP):
        ms_per_image = 1000 * (ended - started_rest) / (now - warm)
    else:
        ms_per_image = _uncached_ms_per_image(transformer, X)
    return features, Extraction(
        transformer, features.shape[1], ended - started, now - embedded, ms_per_image
    )


def _uncached_ms_per_image(extractor: PretrainedFeatures, X) -> float:
    """Return the time for one image, measured on a few without the cache."""
    uncached = clone(extractor).set_params(cache=None, verbose=0).fit(X)
    n = min(_num_samples(X), _TIMED)
    uncached.transform(_safe_indexing(X, np.arange(min(n, _WARM_UP))))
    started = time.perf_counter()
    uncached.transform(_safe_indexing(X, np.arange(n)))
    return 1000 * (time.perf_counter() - started) / n
