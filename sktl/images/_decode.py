"""Encoded images and PIL images → pixels, the way ``.convert("RGB")`` sees them."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from sktl.exceptions import UnreadableImageError

# What Pillow raises on damaged files: the first four, and the two of a bomb, were seen
# on 40,000 cut or altered files of 13 formats; the others stand in its issues.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}

# Formats that Pillow opens as 32-bit "I" although their pixels have 16 bits.
_SIXTEEN_BITS_AS_INT32 = {"PNG", "PPM"}

# A PIL image decodes on first use, and must not do so in two threads at once. Images
# share a few locks, so that most of them are decoded in parallel.
_loading = [threading.Lock() for _ in range(64)]


def read_file(path: str) -> bytes:
    """Return the bytes of an image file, or say why there are none."""
    place = os.path.expanduser(path)
    try:
        with open(place, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        if _URL.match(path):
            reason = "is a URL, and sktl reads only local files; download it first"
        elif not path:
            reason = "has an empty path"
        elif os.path.isabs(place):
            reason = "does not exist"
        else:
            reason = f"does not exist in {os.getcwd()!r}, where relative paths start"
        raise UnreadableImageError(reason) from error
    except (OSError, ValueError) as error:
        if os.path.isdir(place):  # which Windows reports as a lack of permission
            reason = (
                "is a directory, not an image; sktl.datasets.load_image_folder lists "
                "the images in it"
            )
        else:
            reason = f"cannot be opened ({error})"
        raise UnreadableImageError(reason) from error


def decode(data: bytes) -> np.ndarray:
    """Return the pixels of an encoded image, upright, grey or RGB."""
    if not len(data):
        raise UnreadableImageError("is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_pixel_count(image)
            image.load()
            return _pixels_of(image)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"is not an image in a format that Pillow knows; it begins with "
            f"{bytes(data[:16])!r}"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(_too_large(str(error))) from error
    except _DAMAGED as error:
        raise UnreadableImageError(
            f"cannot be decoded, it may be truncated or damaged ({error})"
        ) from error


def pixels_of_image(image: Image.Image) -> np.ndarray:
    """Return the pixels of a PIL image, upright, grey or RGB; it stays as it is."""
    with _loading[id(image) // 64 % len(_loading)]:
        try:
            _check_pixel_count(image)
            image.load()
            return _pixels_of(image)
        except UnreadableImageError:
            raise
        except _DAMAGED as error:
            raise UnreadableImageError(f"cannot be decoded ({error})") from error


def pixel_dtype(image: Image.Image) -> np.dtype:
    """Return the type that the pixels of a PIL image will have, without decoding."""
    if image.mode.startswith("I;16"):
        return np.dtype(np.uint16)
    if image.mode == "I":
        sixteen = image.format in _SIXTEEN_BITS_AS_INT32
        return np.dtype(np.uint16 if sixteen else np.int32)
    return np.dtype(np.float32 if image.mode == "F" else np.uint8)


def _pixels_of(image: Image.Image) -> np.ndarray:
    """Return the pixels of a loaded image as H x W or H x W x 3."""
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
    turn = _UPRIGHT.get(_orientation(image))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; a damaged EXIF block counts as upright."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except _DAMAGED:
        return 1


def _check_pixel_count(image: Image.Image) -> None:
    """Refuse what Pillow only warns of, before its pixels take memory."""
    limit = Image.MAX_IMAGE_PIXELS
    width, height = image.size
    if limit is not None and width * height > limit:
        raise UnreadableImageError(
            _too_large(f"{width} x {height} pixels, the limit is {limit}")
        )


def _too_large(detail: str) -> str:
    """Say that an image may be a decompression bomb, and what to do if it is not."""
    return (
        f"could be a decompression bomb ({detail}); if it can be trusted, raise "
        "PIL.Image.MAX_IMAGE_PIXELS"
    )
