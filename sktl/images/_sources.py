"""Where the pixels of a row are: in one array, or image by image in any form.

Errors say what is wrong with an image; ``ImageRows`` adds which row it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from sktl.exceptions import ImageInputError, UnreadableImageError
from sktl.images import _decode, _fingerprint
from sktl.images._decode import ENCODED
from sktl.images._value_range import FULL_RANGE

CHANNELS = (1, 3, 4)  # grey, RGB, RGB and alpha
PATH = str | os.PathLike

_BLOCK = 2**22  # bytes examined at once


class ImageSequence:
    """Images one by one in a sequence, all of one kind; an item may be missing."""

    flat = False

    def __init__(self, items: Sequence | np.ndarray, kind: str):
        self.items: Any = items
        self.kind = kind
        self.dtype: np.dtype | None = None  # unknown for files, before decoding
        self.scaled = False
        if kind not in ("a PIL image", "an array"):
            return
        dtypes = [None if is_missing(item) else dtype_of(item) for item in items]
        types = [dtype for dtype in dict.fromkeys(dtypes) if dtype is not None]
        first = {dtype: dtypes.index(dtype) for dtype in types}
        for dtype, row in first.items():
            check_dtype(dtype, f"Row {row} of X")
        fixed = [row for dtype, row in first.items() if dtype in FULL_RANGE]
        learned = [row for dtype, row in first.items() if dtype not in FULL_RANGE]
        if fixed and learned:
            raise ImageInputError(
                f"X mixes pixel types: row {fixed[0]} is {dtypes[fixed[0]]}, which has "
                f"a fixed range, and row {learned[0]} is {dtypes[learned[0]]}, whose "
                "range depends on the data. Convert all images to one type."
            )
        self.dtype = types[0] if len(types) == 1 else None
        self.scaled = bool(learned)

    def __len__(self) -> int:
        return len(self.items)

    def label(self, i: int) -> str | None:
        """Return the path of an image, or the file that a PIL image comes from."""
        item = self.items[i]
        if isinstance(item, Image.Image):
            return getattr(item, "filename", None) or None
        return str(os.fsdecode(item)) if isinstance(item, PATH) else None

    def pixels(self, i: int) -> np.ndarray:
        """Return one image as (h, w) or (h, w, c), decoded if need be."""
        item = self.items[i]
        if is_missing(item):
            raise UnreadableImageError(f"is missing ({item!r})")
        if isinstance(item, PATH):
            item = _decode.read_file(os.fsdecode(item))
        if isinstance(item, ENCODED):
            return _decode.decode(item)
        if isinstance(item, Image.Image):
            return _decode.pixels_of_image(item)
        return _view(item)

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes that identify the content of one image."""
        if self.kind == "a path" and not is_missing(self.items[i]):
            return _fingerprint.of_file(os.fsdecode(self.items[i]))
        if self.kind == "encoded bytes" and not is_missing(self.items[i]):
            return _fingerprint.of_bytes(self.items[i])
        return _fingerprint.of_pixels(self.pixels(i))

    def blocks(self, index: range | np.ndarray) -> Iterator[np.ndarray]:
        """Yield the readable images at these positions as stacks of one."""
        for i in index:
            try:
                pixels = self.pixels(i)
            except UnreadableImageError:
                continue
            if pixels.size:
                yield pixels[None]


class ImageStack(ImageSequence):
    """Images of one size in one array of shape (n, h, w) or (n, h, w, c)."""

    def __init__(self, items: np.ndarray, *, flat: bool = False):
        super().__init__(items, "a row of a table" if flat else "part of one array")
        self.flat = flat
        self.dtype = items.dtype
        self.scaled = items.dtype not in FULL_RANGE

    def pixels(self, i: int) -> np.ndarray:
        """Return a view of one image."""
        return self.items[i]

    def blocks(self, index: range | np.ndarray) -> Iterator[np.ndarray]:
        """Yield the images at these positions in stacks of a few megabytes."""
        step = max(1, _BLOCK // self.items[0].nbytes)
        for start in range(0, len(index), step):
            some: Any = index[start : start + step]
            if isinstance(some, range):
                some = slice(some.start, some.stop)  # which copies nothing
            yield self.items[some]


def kind_of(item_type: type) -> str | None:
    """Return the kind of image that this type is, or None if it is not one."""
    if issubclass(item_type, PATH):
        return "a path"
    if issubclass(item_type, ENCODED):
        return "encoded bytes"
    if issubclass(item_type, Image.Image):
        return "a PIL image"
    is_array = hasattr(item_type, "__array__") and not issubclass(item_type, np.generic)
    return "an array" if is_array else None


def is_missing(item) -> bool:
    """Tell whether an item is None, NaN or the missing value of a frame."""
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(item, float) and item != item


def is_tensor(x) -> bool:
    """Tell whether x is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def as_ndarray(x) -> np.ndarray:
    """Return an array or tensor as an ndarray of a type that every machine has."""
    if is_tensor(x):
        x = x.detach().cpu()
        x = (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    array = np.asarray(x)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)  # long double differs between machines
    is_native = array.dtype.isnative
    return array if is_native else array.astype(array.dtype.newbyteorder("="))


def dtype_of(x) -> np.dtype:
    """Return the type of the pixels of an array, tensor or PIL image."""
    if isinstance(x, Image.Image):
        return _decode.pixel_dtype(x)
    if is_tensor(x):
        x = as_ndarray(x.new_empty(0))
    dtype = getattr(x, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else np.asarray(x).dtype


def check_dtype(dtype: np.dtype, what: str) -> None:
    """Refuse types that cannot hold pixels."""
    if dtype.kind not in "biuf":
        raise ImageInputError(
            f"{what} has dtype {dtype}, which cannot hold pixels. Pixels are bool, "
            "integers or floats."
        )


def channels_last(images: np.ndarray, *, prefer_first: bool) -> np.ndarray | None:
    """Return a view of images with the channels last; None if they have no channels.

    If either end could be the channels, ``prefer_first`` decides: tensors have them
    first, arrays last.
    """
    could_be_first = images.shape[-3] in CHANNELS
    could_be_last = images.shape[-1] in CHANNELS
    if could_be_first and (prefer_first or not could_be_last):
        return np.moveaxis(images, -3, -1)
    return images if could_be_last else None


def _view(item) -> np.ndarray:
    """Return an array or tensor of one image as (h, w) or (h, w, c)."""
    array = as_ndarray(item)
    image = array if array.ndim == 2 else None
    if array.ndim == 3:
        image = channels_last(array, prefer_first=is_tensor(item))
    if image is not None:
        return image
    encoded = array.ndim == 1 and array.dtype == np.uint8
    hint = "; pass encoded images as bytes: array.tobytes()" if encoded else ""
    raise UnreadableImageError(
        f"has shape {array.shape}, but an image is (h, w) or (h, w, c) with c in "
        f"{CHANNELS}{hint}"
    )
