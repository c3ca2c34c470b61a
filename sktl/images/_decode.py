"""Image files, encoded bytes and PIL images → pixels, as from ``.convert("RGB")``."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import zlib

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sktl.exceptions import UnreadableImageError

ENCODED = bytes | bytearray | memoryview

_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow raises on damaged files: the first line was seen on 40,000 truncated or
# altered files of 13 formats, the second is reported in its issues.
_DAMAGED = (
    *(*_BOMB, OSError, ValueError, SyntaxError, RuntimeError),
    *(EOFError, LookupError, OverflowError, TypeError, struct.error, zlib.error),
)

_UPRIGHT = {  # by EXIF orientation
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}

# A PIL image decodes on first use, and must not do so in two threads at once. Images
# share a few locks, so that most of them are decoded in parallel.
_loading = [threading.Lock() for _ in range(64)]


def read_file(path: str) -> bytes:
    """Return the bytes of an image file, or say why it cannot be read."""
    place = os.path.expanduser(path)
    try:
        with open(place, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
            reason = "is a URL, and sktl reads only local files; download it first"
        elif not path:
            reason = "has an empty path"
        elif os.path.isdir(place):
            reason = "is a folder; sktl.datasets.load_image_folder lists its images"
        elif not isinstance(error, FileNotFoundError):
            reason = f"cannot be opened ({error})"
        elif os.path.isabs(place):
            reason = "does not exist"
        else:
            reason = f"does not exist in the working directory {os.getcwd()!r}"
        raise UnreadableImageError(reason) from error


def decode(data: ENCODED) -> np.ndarray:
    """Return the pixels of an encoded image, upright, grey or RGB."""
    if not len(data):
        raise UnreadableImageError("is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _pixels(image)
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            "is not in an image format that Pillow knows; it begins with "
            f"{bytes(data[:16])!r}"
        ) from error
    except _DAMAGED as error:
        raise _undecodable(error) from error


def pixels_of_image(image: Image.Image) -> np.ndarray:
    """Return the pixels of a PIL image, upright, grey or RGB, leaving it unchanged."""
    with _loading[id(image) // 64 % len(_loading)]:
        try:
            return _pixels(image)
        except _DAMAGED as error:
            raise _undecodable(error) from error


def pixel_dtype(image: Image.Image) -> np.dtype:
    """Return the type that the pixels of a PIL image will have, without decoding."""
    if image.mode.startswith("I;16"):
        return np.dtype(np.uint16)
    if image.mode == "I":  # also how Pillow opens some 16-bit formats
        return np.dtype(np.uint16 if image.format in ("PNG", "PPM") else np.int32)
    return np.dtype(np.float32 if image.mode == "F" else np.uint8)


def _pixels(image: Image.Image) -> np.ndarray:
    """Return the pixels of an image as H x W or H x W x 3."""
    limit = Image.MAX_IMAGE_PIXELS
    width, height = image.size
    if limit is not None and width * height > limit:
        # Pillow only warns up to twice the limit; refuse before pixels take memory.
        raise Image.DecompressionBombError(f"{width} x {height} pixels, over {limit}")
    image.load()
    dtype = pixel_dtype(image)
    if dtype != np.uint8:
        pixels = np.array(image).astype(dtype.newbyteorder("="), copy=False)
    elif image.mode in ("L", "RGB"):
        pixels = np.array(image)
    elif image.mode in ("1", "LA"):
        pixels = np.array(image.convert("L"))
    elif image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        # The same colours without Pillow's warning about the lost transparency.
        pixels = np.array(image.convert("RGBA"))[..., :3]
    else:
        pixels = np.array(image.convert("RGB"))
    try:
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGED:  # a damaged EXIF block counts as upright
        turn = None
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _undecodable(error: Exception) -> UnreadableImageError:
    """Return an error that explains what Pillow raised."""
    why = "cannot be decoded and may be truncated or damaged"
    if isinstance(error, _BOMB):
        why = "may be a decompression bomb; if not, raise PIL.Image.MAX_IMAGE_PIXELS"
    return UnreadableImageError(f"{why} ({error})")
