"""Where the pixels of a row are: one class for each form in which images come.

A source knows its rows by position and says of a row that cannot be read only what
is wrong with it; :class:`~sktl.images.ImageRows` adds which row that is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from sktl.exceptions import ImageInputError, UnreadableImageError
from sktl.images import _fingerprint
from sktl.images._arrays import (
    CHANNELS,
    as_ndarray,
    channels_last,
    check_dtype,
    dtype_of,
    is_tensor,
    keeps_own_scale,
)
from sktl.images._decode import decode, pixel_dtype, pixels_of_image, read_file

_BLOCK = 2**22  # bytes looked at in one go


class StackedArrays:
    """Images of one size in one array of shape (n, h, w) or (n, h, w, c)."""

    def __init__(self, images: np.ndarray, *, flat: bool = False):
        self.images = images
        self.flat = flat
        self.scaled = not keeps_own_scale(images.dtype)
        self.dtype = images.dtype

    def __len__(self) -> int:
        return len(self.images)

    def blocks(self, index: np.ndarray | None) -> Iterator[np.ndarray]:
        """Yield the images in stacks of a few megabytes, copying no more than one."""
        n = len(self.images) if index is None else len(index)
        step = max(1, _BLOCK // self.images[0].nbytes)
        for start in range(0, n, step):
            some = slice(start, start + step)
            yield self.images[some if index is None else index[some]]

    def label(self, i: int) -> str | None:
        """Return what the user calls the image, if it has a name."""
        return None

    def pixels(self, i: int) -> np.ndarray:
        """Return a view of one image."""
        return self.images[i]

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes of the content of one image."""
        return _fingerprint.of_pixels(self.images[i])


class _Items:
    """Images one by one, in a sequence; an item may be missing."""

    scaled = False
    flat = False
    dtype = None  # unknown before decoding

    def __init__(self, items: Sequence):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def blocks(self, index: np.ndarray | None) -> Iterator[np.ndarray]:
        """Yield readable images one by one, as stacks of one."""
        for i in range(len(self)) if index is None else index:
            try:
                pixels = self.pixels(i)
            except UnreadableImageError:
                continue
            if pixels.size:
                yield pixels[None]

    def label(self, i: int) -> str | None:
        """Return what the user calls the image, if it has a name."""
        return None

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes of the content of one image."""
        return _fingerprint.of_pixels(self.pixels(i))

    def item(self, i: int):
        """Return an item that is not missing."""
        item = self.items[i]
        if is_missing(item):
            raise UnreadableImageError(f"is missing ({item!r})")
        return item


class Paths(_Items):
    """Image files, opened when their pixels are asked for and closed at once."""

    def label(self, i: int) -> str | None:
        """Return the path as the user gave it."""
        item = self.items[i]
        return None if is_missing(item) else str(os.fsdecode(item))

    def path(self, i: int) -> str:
        """Return the path of one file."""
        return os.fsdecode(self.item(i))

    def pixels(self, i: int) -> np.ndarray:
        """Read and decode one file."""
        return decode(read_file(self.path(i)))

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes of the content of one file."""
        return _fingerprint.of_file(self.path(i))


class EncodedImages(_Items):
    """Contents of image files: bytes, bytearray or memoryview."""

    def pixels(self, i: int) -> np.ndarray:
        """Decode one image."""
        return decode(self.item(i))

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes of the content: those of a file with the same bytes."""
        return _fingerprint.of_bytes(self.item(i))


class PillowImages(_Items):
    """PIL images, opened or made."""

    def __init__(self, items: Sequence):
        super().__init__(items)
        self.dtype, self.scaled = _type_and_scale(
            [None if is_missing(item) else pixel_dtype(item) for item in items]
        )

    def label(self, i: int) -> str | None:
        """Return the file that the image was opened from."""
        return getattr(self.items[i], "filename", None) or None

    def pixels(self, i: int) -> np.ndarray:
        """Decode one image."""
        return pixels_of_image(self.item(i))


class SeparateArrays(_Items):
    """Arrays or tensors of one image each, of any sizes."""

    def __init__(self, items: Sequence):
        super().__init__(items)
        dtypes = [None if is_missing(item) else dtype_of(item) for item in items]
        for dtype in {dtype for dtype in dtypes if dtype is not None}:
            check_dtype(dtype, f"Row {dtypes.index(dtype)} of X")
        self.dtype, self.scaled = _type_and_scale(dtypes)

    def pixels(self, i: int) -> np.ndarray:
        """Return a view of one image as H x W or H x W x C."""
        item = self.item(i)
        array = as_ndarray(item)
        image = channels_last(array, first=is_tensor(item))
        if image is None:
            if array.ndim == 1 and array.dtype == np.uint8:
                hint = "; pass encoded images as bytes: array.tobytes()"
            else:
                hint = ""
            raise UnreadableImageError(
                f"has shape {array.shape}; an image is (h, w) or (h, w, c) with c in "
                f"{CHANNELS}{hint}"
            )
        return image


def is_missing(item) -> bool:
    """Tell whether an item is None, NaN or the missing value of a frame."""
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(item, float) and item != item


def kind_of(item_type: type) -> type[_Items] | None:
    """Return the source for items of a type; None if they are not images."""
    if issubclass(item_type, str | os.PathLike):
        return Paths
    if issubclass(item_type, bytes | bytearray | memoryview):
        return EncodedImages
    if issubclass(item_type, Image.Image):
        return PillowImages
    if hasattr(item_type, "__array__") and not issubclass(item_type, np.generic):
        return SeparateArrays
    return None


def _type_and_scale(dtypes: list[np.dtype | None]) -> tuple[np.dtype | None, bool]:
    """Return the type of all images, if it is one, and whether it needs a scale."""
    types = {dtype for dtype in dtypes if dtype is not None}
    learned = [dtype for dtype in types if not keeps_own_scale(dtype)]
    if 0 < len(learned) < len(types):
        row = min(dtypes.index(dtype) for dtype in learned)
        other = min(dtypes.index(dtype) for dtype in types.difference(learned))
        raise ImageInputError(
            f"X mixes pixel types: row {other} is {dtypes[other]}, which has a range "
            f"of its own, and row {row} is {dtypes[row]}, whose scale depends on the "
            "data. Convert all images to one type."
        )
    return types.pop() if len(types) == 1 else None, bool(learned)
