"""``ImageRows``: images as rows of X, whatever X is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sktl.exceptions import UnreadableImageError, ValueRangeError
from sktl.images._reading import is_flat, read
from sktl.images._views import Views

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import Tensor

    from sktl.images._recipe import Recipe
    from sktl.images._sources import ImageSequence


class ImageRows:
    """Rows of images as the user holds them, decoded only when they are needed.

    Made by :meth:`of`. Rows are numbered as the user numbers them: after :meth:`take`,
    :meth:`where` still names the row of the X that was passed.

    Attributes
    ----------
    flat : bool
        True if X was a table of numbers.
    scaled : bool
        True if black and white depend on the data (floats, and integers other than
        uint8 and uint16), so that a value range has to be learned.
    dtype : numpy dtype or None
        The type of all pixels; None if types differ, or are unknown before decoding.

    Notes
    -----
    Several threads may read at once. A pickle holds what X held: paths stay paths.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import ImageRows
    >>> rows = ImageRows.of(np.zeros((5, 32, 24, 3), dtype=np.uint8))
    >>> len(rows), rows[0].shape, rows.scaled
    (5, (32, 24, 3), False)
    >>> rows.take([4, 2]).where(0)
    'row 4'
    """

    def __init__(self, source: ImageSequence, positions: range | np.ndarray):
        self._source = source
        self._positions = positions
        self.flat = source.flat
        self.scaled = source.scaled
        self.dtype = source.dtype

    @classmethod
    def of(cls, X, *, image_shape=None) -> ImageRows:
        """Read X as a collection of images; nothing is decoded or copied.

        Parameters
        ----------
        X : array-like of images
            One of:

            - an array or tensor (n, h, w), (n, h, w, c) or (n, c, h, w) with 1, 3 or
              4 channels. If the shape fits both, the channels of a tensor come first
              and those of an array last;
            - a list, object array or Series, or a frame or array of one column, of
              paths, of encoded ``bytes``, of PIL images or of arrays of any sizes. A
              missing value (None, NaN) is an unreadable image;
            - a table of numbers: rows of flattened images.
        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, channels)`` of the images in a
            table. None infers it if the width is a square or three times one, and
            reads other rows as images one pixel high, with a warning.

        Raises
        ------
        ImageInputError
            If X is not a collection of images.
        """
        if isinstance(X, ImageRows):
            return X
        source = read(X, image_shape)
        return cls(source, range(len(source)))

    def __len__(self) -> int:
        return len(self._positions)

    def __repr__(self) -> str:
        return f"<ImageRows: {len(self)} images, each {self._source.kind}>"

    @property
    def are_strips(self) -> bool:
        """Whether rows of a table were read as images one pixel high."""
        return self.flat and len(self) > 0 and self[0].shape[0] == 1

    def take(self, indices) -> ImageRows:
        """Return some of the rows, in the order of ``indices``; no pixel is copied."""
        positions = self._positions
        if isinstance(positions, range):
            positions = np.arange(len(positions))
        return ImageRows(self._source, positions[indices])

    def where(self, i: int) -> str:
        """Return what to call a row: its number in X, and its path if it has one."""
        row = self._position(i)
        label = self._source.label(row)
        return f"row {row}" if label is None else f"row {row} ({label!r})"

    def __getitem__(self, i: int) -> np.ndarray:
        """Return the pixels of a row: (h, w) or (h, w, c), of the type that X holds.

        Files come upright, as RGB or grey, in 8 bits, or 16 if the file has them.
        """
        return self._read(i, self._source.pixels)

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes that identify the content of a row, in any process.

        Equal bytes have equal fingerprints, in a file or in memory. That of a file is
        remembered as long as the size and times of the file stay the same.
        """
        return self._read(i, self._source.fingerprint)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the readable rows without alpha, in stacks of images of one size."""
        for block in self._source.blocks(self._positions):
            yield block[..., :3] if block.ndim == 4 else block

    def prepare(
        self, i: int, recipe: Recipe, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Return a row as a network with this recipe sees it, not yet normalised.

        Shaped (channels, height, width): uint8 if the image has 8 bits, else float32
        with black 0 and white 1, which ``value_range`` defines. Raises
        UnreadableImageError if the row holds no readable image, and ValueRangeError if
        its pixels are on another scale.
        """
        from sktl.images._prepare import prepare

        pixels = self._source.pixels
        return self._read(i, lambda row: prepare(pixels(row), recipe, value_range))

    def _position(self, i: int) -> int:
        """Return the position of a row in X."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        return int(self._positions[i])

    def _read(self, i: int, how: Callable[[int], Any]) -> Any:
        """Apply ``how`` to a row, and name the row in any error."""
        try:
            return how(self._position(i))
        except (UnreadableImageError, ValueRangeError) as error:
            raise type(error)(f"{self.where(i)} {error}") from error.__cause__


def read_images(estimator: BaseEstimator, X, *, reset: bool) -> ImageRows:
    """Read X as images; a table also goes through scikit-learn's own checks.

    The estimator has an ``image_shape``. Its ``n_features_in_`` and
    ``feature_names_in_`` are learned with ``reset=True``, as in ``fit``, and otherwise
    checked.
    """
    from sklearn.utils.validation import validate_data

    if isinstance(X, Views):
        return X.rows(read_images(estimator, X.X, reset=reset))
    if is_flat(X):
        X = validate_data(estimator, X, reset=reset, dtype="numeric")
    elif hasattr(X, "columns"):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    elif reset:
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
    return ImageRows.of(X, image_shape=estimator.image_shape)
