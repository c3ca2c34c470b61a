"""Plain features of images, without a network: baselines that a network has to beat."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from sktl.exceptions import UnreadableImageError
from sktl.images import (
    ImageRows,
    Recipe,
    check_value_range,
    learn_value_range,
    read_images,
)

# The size at which colours are counted: small enough to be fast, and far more pixels
# than a histogram has bins.
_COLOR_SIZE = 64
_MOST_NAMED = 20


class PlainFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A vector for each image, computed from nothing but its pixels.

    A subclass says how images are brought to one size (``_recipe``) and what is in the
    vector (``_describe``).
    """

    _parameter_constraints: dict = {
        "image_shape": [list, tuple, None],
        "value_range": [list, tuple, None],
    }

    def __init__(self, *, image_shape=None, value_range=None):
        self.image_shape = image_shape
        self.value_range = value_range

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the pixel scale, unless the type of the pixels fixes it.

        Parameters
        ----------
        X : array-like of images
            Arrays, paths, encoded bytes, PIL images or flattened rows.
        y : Ignored
            Not used, present for API consistency.
        """
        images = read_images(self, X, reset=True)
        self.value_range_ = learn_value_range(images, self.value_range)
        recipe = self._recipe()
        black = np.zeros((recipe.channels, *recipe.size), dtype=np.float32)
        self._n_features_out = len(self._describe(black))
        return self

    def transform(self, X):
        """Return the features of images, as rows of float32.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``; the form may differ.
        """
        check_is_fitted(self)
        images = read_images(self, X, reset=False)
        check_value_range(images, self.value_range_)
        recipe = self._recipe()

        def compute(i: int) -> np.ndarray:
            pixels = images.prepare(i, recipe, self.value_range_).numpy()
            full = 255.0 if pixels.dtype == np.uint8 else 1.0
            return self._describe(pixels.astype(np.float32) / full)

        return np.stack(for_each_image(images, compute)).astype(np.float32, copy=False)

    def _recipe(self) -> Recipe:
        """Return how images are brought to one size."""
        raise NotImplementedError

    def _describe(self, pixels: np.ndarray) -> np.ndarray:
        """Return the vector of one image: (channels, h, w), black 0 and white 1."""
        raise NotImplementedError

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_n_features_out")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class SmallPixels(PlainFeatures):
    """Shrink images and take their pixels as features.

    A pretrained network that does not beat a head on these features is of no use.

    Parameters
    ----------
    size : int, default=16
        Height and width to which images are stretched.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of images that come as
        rows of a table; None infers it.
    value_range : (float, float) or None, default=None
        The pixel values that mean black and white; None takes the full range of
        integer types and learns it from X in ``fit`` for others.

    Attributes
    ----------
    value_range_ : (float, float) or None
        The pixel values that mean black and white; None where the type fixes them.

    Examples
    --------
    >>> from sklearn.datasets import load_sample_images
    >>> from sktl.model_selection import SmallPixels
    >>> SmallPixels(size=8).fit_transform(load_sample_images().images).shape
    (2, 192)
    """

    _parameter_constraints: dict = {
        "size": [Interval(Integral, 1, None, closed="left")],
        **PlainFeatures._parameter_constraints,
    }

    def __init__(self, size=16, *, image_shape=None, value_range=None):
        super().__init__(image_shape=image_shape, value_range=value_range)
        self.size = size

    def _recipe(self) -> Recipe:
        return Recipe(size=(self.size, self.size), resize=None)

    def _describe(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.ravel()


class ColorHistogram(PlainFeatures):
    """Count the colours of images, regardless of their positions.

    Each feature is the square root of the share of pixels with one hue, saturation and
    brightness. The distance between two such histograms is the Hellinger distance,
    which suits linear heads and kernels better than that of raw counts.

    Parameters
    ----------
    bins : (int, int, int), default=(8, 4, 4)
        Steps of hue, of saturation and of brightness.
    image_shape, value_range
        As in :class:`SmallPixels`, and so is the attribute ``value_range_``.

    Examples
    --------
    >>> from sklearn.datasets import load_sample_images
    >>> from sktl.model_selection import ColorHistogram
    >>> features = ColorHistogram().fit_transform(load_sample_images().images)
    >>> features.shape, (features**2).sum(axis=1).round(3)
    ((2, 128), array([1., 1.], dtype=float32))
    """

    _parameter_constraints: dict = {
        "bins": [list, tuple],
        **PlainFeatures._parameter_constraints,
    }

    def __init__(self, bins=(8, 4, 4), *, image_shape=None, value_range=None):
        super().__init__(image_shape=image_shape, value_range=value_range)
        self.bins = bins

    def _recipe(self) -> Recipe:
        size = (_COLOR_SIZE, _COLOR_SIZE)
        return Recipe(size=size, resize=None, interpolation="nearest")

    def _describe(self, pixels: np.ndarray) -> np.ndarray:
        steps = tuple(self.bins)
        if [isinstance(n, int | np.integer) and n > 0 for n in steps] != [True] * 3:
            raise ValueError(
                f"bins={self.bins!r} must be three positive ints: steps of hue, "
                "saturation and brightness."
            )
        hsv = _hue_saturation_value(np.clip(pixels.reshape(3, -1), 0, 1))
        indices = [
            np.minimum((channel * n).astype(np.intp), n - 1)
            for channel, n in zip(hsv, steps, strict=True)
        ]
        counts = np.bincount(
            np.ravel_multi_index(indices, steps), minlength=int(np.prod(steps))
        )
        return np.sqrt(counts / counts.sum())


def _hue_saturation_value(rgb: np.ndarray) -> np.ndarray:
    """Return colours (3, n) as hue, saturation and brightness, all in [0, 1]."""
    red, green, blue = rgb
    value = rgb.max(axis=0)
    chroma = value - rgb.min(axis=0)
    safe = np.where(chroma > 0, chroma, 1)
    hue = np.select(
        [value == red, value == green],
        [(green - blue) / safe % 6, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    saturation = chroma / np.where(value > 0, value, 1)
    return np.stack([hue / 6 * (chroma > 0), saturation, value])


def for_each_image(images: ImageRows, compute: Callable[[int], Any]) -> list:
    """Return ``compute(i)`` for every row, in order, with threads.

    One error names all images that cannot be read.
    """

    def attempt(i: int) -> Any:
        try:
            return compute(i)
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        results = list(pool.map(attempt, range(len(images))))
    errors = [result for result in results if isinstance(result, UnreadableImageError)]
    if errors:
        named = "; ".join(map(str, errors[:_MOST_NAMED]))
        raise UnreadableImageError(
            f"{len(errors)} of {len(images)} images cannot be read: {named}. "
            "Remove them."
        ) from errors[0]
    return results
