"""``ImageRows``: images as rows of X, whatever X is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sktl.exceptions import UnreadableImageError, ValueRangeError
from sktl.images._reading import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from sktl.images._recipe import Recipe


class ImageRows:
    """Rows of images as the user holds them; nothing is decoded until asked.

    Made by :meth:`of`. Rows are counted as the user counts them: after :meth:`take`,
    :meth:`where` still names the row of the X that was passed.

    Attributes
    ----------
    flat : bool
        True when X was a table of numbers.

    scaled : bool
        True when the pixels are of a type whose black and white depend on the data
        (floats, and integers other than uint8 and uint16), so that a value range has
        to be learned.

    dtype : numpy dtype or None
        The type that all pixels have; None where they differ, or where only decoding
        would tell.

    Notes
    -----
    Safe to be read from several threads. A pickle holds what X held: paths for paths.

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

    def __init__(self, source, index: np.ndarray | None = None):
        self._source = source
        self._index = index
        self.flat = source.flat
        self.scaled = source.scaled
        self.dtype = source.dtype

    @classmethod
    def of(cls, X, *, image_shape=None) -> ImageRows:
        """Read X as a collection of images.

        Parameters
        ----------
        X : array-like of images
            One of:

            - an array or tensor (n, h, w), (n, h, w, c) or (n, c, h, w) with 1, 3 or
              4 channels. Where both ends could be the channels, a tensor has them
              first and an array last;
            - a list, object array or Series, or a frame or array of one column, of
              paths, of encoded ``bytes``, of PIL images or of arrays of any sizes. A
              missing value (None, NaN) is an unreadable image;
            - a table of numbers: rows of flattened images.

        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, channels)`` of the images in a
            table. None infers it where the width is a square or three times one, and
            reads other rows as images one pixel high, with a warning.

        Returns
        -------
        rows : ImageRows
            The images. Pixels are neither read nor copied.

        Raises
        ------
        ImageInputError
            If X is not a collection of images.
        """
        if isinstance(X, ImageRows):
            return X
        return cls(read(X, image_shape))

    def __len__(self) -> int:
        return len(self._source if self._index is None else self._index)

    def __repr__(self) -> str:
        kind = type(self._source).__name__
        return f"<ImageRows of {len(self)} images, held as {kind}>"

    def take(self, indices) -> ImageRows:
        """Return some of the rows, in the order of ``indices``; no pixel is copied."""
        taken = np.arange(len(self))[indices]
        return ImageRows(
            self._source, taken if self._index is None else self._index[taken]
        )

    def where(self, i: int) -> str:
        """Return words for a row: its number in X, and its path if it has one."""
        row = self._row(i)
        label = self._source.label(row)
        return f"row {row}" if label is None else f"row {row} ({label!r})"

    def __getitem__(self, i: int) -> np.ndarray:
        """Return the pixels of a row: (h, w) or (h, w, c), of the type that X holds.

        Files come upright, as RGB or grey, in 8 bits, or 16 where the file has them.
        """
        row = self._row(i)
        try:
            return self._source.pixels(row)
        except UnreadableImageError as error:
            raise self._name_row(i, error) from error.__cause__

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes that identify the content of a row, in any process.

        Equal bytes in a file and in memory have equal fingerprints. Those of files are
        remembered for as long as size and times of the file stay the same.
        """
        row = self._row(i)
        try:
            return self._source.fingerprint(row)
        except UnreadableImageError as error:
            raise self._name_row(i, error) from error.__cause__

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the readable rows without alpha, in stacks of images of one size."""
        for block in self._source.blocks(self._index):
            yield block[..., :3] if block.ndim == 4 else block

    def prepare(
        self, i: int, recipe: Recipe, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Return a row as a network with this recipe is to see it, not normalised.

        Parameters
        ----------
        i : int
            The row.

        recipe : Recipe
            Size, crop, interpolation and colours.

        value_range : (float, float) or None, default=None
            The values that mean black and white, for pixels wider than 8 bits.

        Returns
        -------
        pixels : Tensor of shape (channels, height, width)
            uint8 when the image has 8 bits, else float32 with black 0 and white 1.

        Raises
        ------
        UnreadableImageError
            If the row holds no readable image.
        ValueRangeError
            If its pixels are on another scale altogether.
        """
        from sktl.images._prepare import prepare

        pixels = self[i]
        try:
            return prepare(pixels, recipe, value_range)
        except (UnreadableImageError, ValueRangeError) as error:
            raise self._name_row(i, error) from error.__cause__

    def _row(self, i: int) -> int:
        """Return the position of a row in X."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        i = i + len(self) if i < 0 else i
        return int(i if self._index is None else self._index[i])

    def _name_row(self, i: int, error: Exception) -> Exception:
        """Return an error about a row that says which row it is about."""
        return type(error)(f"{self.where(i)} {error}")
