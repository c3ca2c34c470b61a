"""Which pixel values are black and white, if their type does not say."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from sktl.exceptions import (
    DataConversionWarning,
    ImageInputError,
    UnreadableImageError,
    ValueRangeError,
)

if TYPE_CHECKING:
    from sktl.images._rows import ImageRows

FULL_RANGE = {
    np.dtype(np.bool_): 1.0,
    np.dtype(np.uint8): 255.0,
    np.dtype(np.uint16): 65535.0,
}
# Resizing and compression let values overshoot their scale by a few per cent.
_TOLERANCE = 0.05
# Values beyond this many times the range are on another scale, such as 8-bit values
# after a fit on digits (0 to 16). A bright image after a fit on dark ones passes.
_FAR = 4.0
_BELOW = 0.5
# If this many images lie within [0, 1], not all in whole numbers, they are not dark
# images on a scale of 255 or more; a few may be.
_ENOUGH_ROWS = 10
_BIT_DEPTHS = (255.0, 4095.0, 65535.0)


def learn_value_range(
    rows: ImageRows, value_range: tuple[float, float] | None = None
) -> tuple[float, float] | None:
    """Return the values that mean black and white in these images.

    Parameters
    ----------
    rows : ImageRows
        The images that an estimator is fitted to.
    value_range : (float, float) or None, default=None
        The range, if it is known; it is checked and returned.

    Returns
    -------
    value_range : (float, float) or None
        None for bool, uint8 and uint16, which use their full range. For other types
        (0, 1) if their values lie within it. Otherwise the range of the values rounded
        up, so that the folds of a cross-validation agree: to 255, 4095, 65535 or a
        power of two, and symmetric if there are negative values.

    Raises
    ------
    ImageInputError
        If ``value_range`` is not a range or cannot apply to these images, or if a range
        has to be learned and no image has finite pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import ImageRows, learn_value_range
    >>> photo = np.linspace(0, 250, 64 * 64 * 3).reshape(1, 64, 64, 3)
    >>> learn_value_range(ImageRows.of(photo))
    (0.0, 255.0)
    >>> learn_value_range(ImageRows.of(photo / 50 - 3))
    (-4.0, 4.0)
    >>> learn_value_range(ImageRows.of(photo.astype(np.uint8))) is None
    True
    """
    if value_range is not None:
        return _checked(value_range, rows.dtype)
    if not rows.scaled and rows.dtype != np.uint16:
        return None
    extent = _extent(rows)
    if rows.dtype == np.uint16:
        if extent is not None and extent[1] < 2**14:
            white = 2 ** max(8, math.ceil(math.log2(extent[1] + 1))) - 1
            warnings.warn(
                f"The uint16 pixels of X reach only {extent[1]:g} of 65535, so they are"
                f" read as dark. Pass value_range=(0, {white}) if that is white.",
                DataConversionWarning,
                stacklevel=2,
            )
        return None
    if extent is None:
        raise ImageInputError(
            "Every image in X is unreadable or contains NaN or infinity, starting with "
            f"{rows.where(0)}."
        )
    lowest, highest = extent
    if lowest >= -_TOLERANCE * max(highest, 0.0):
        return 0.0, _round_up(highest)
    top = _round_up(max(-lowest, highest))
    return -top, top


def check_value_range(rows: ImageRows, value_range: tuple[float, float] | None) -> None:
    """Refuse images on a scale other than that of the images seen in ``fit``.

    Values a little beyond the range pass, and so do darker images.

    Parameters
    ----------
    rows : ImageRows
        The images to be transformed.
    value_range : (float, float) or None
        What :func:`learn_value_range` returned in ``fit``.

    Raises
    ------
    ValueRangeError
        If the values are on another scale.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import ImageRows, check_value_range
    >>> bright = np.full((1, 8, 8), 200.0)
    >>> check_value_range(ImageRows.of(bright), (0.0, 255.0))
    >>> check_value_range(ImageRows.of(bright), (0.0, 1.0))
    Traceback (most recent call last):
    ...
    sktl.exceptions.ValueRangeError: X has pixels from 200 to 200, but ...
    """
    extent = _extent(rows) if rows.scaled else None
    if extent is None:
        return
    lowest, highest = extent
    if value_range is None:
        if not _within_unit(lowest, highest):
            raise ValueRangeError(
                f"X has pixels from {lowest:g} to {highest:g}, but the images seen in "
                "fit were of a type with a fixed range (8 or 16 bits). Convert all "
                "images to one type, or pass value_range=(black, white)."
            )
        return
    low, high = value_range
    dark = high >= 128 and lowest >= 0 and highest <= 1
    dark = dark and any((block != np.trunc(block)).any() for block in rows.blocks())
    if _too_far(lowest, highest, value_range) or (dark and len(rows) >= _ENOUGH_ROWS):
        raise ValueRangeError(f"X {_another_scale(lowest, highest, value_range)}")
    if dark:
        warnings.warn(
            f"The pixels of X lie within [0, 1], while fit saw a range of ({low:g}, "
            f"{high:g}), so they are read as almost black. Multiply them by {high:g} "
            "if they should not be.",
            DataConversionWarning,
            stacklevel=3,
        )


def to_unit_range(pixels: np.ndarray, seen: tuple[float, float] | None) -> np.ndarray:
    """Return pixels as float32, with 0 for black and 1 for white."""
    lowest, highest = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise UnreadableImageError("contains NaN or infinity")
    if seen is not None and pixels.dtype != np.bool_:
        if _too_far(lowest, highest, seen):
            raise ValueRangeError(_another_scale(lowest, highest, seen))
        low, high = seen
    elif pixels.dtype in FULL_RANGE or _within_unit(lowest, highest):
        low, high = 0.0, FULL_RANGE.get(pixels.dtype, 1.0)
    else:
        raise UnreadableImageError(
            f"has {pixels.dtype} pixels from {lowest:g} to {highest:g}, whose black "
            "and white are unknown; pass value_range=(black, white)"
        )
    wide = np.dtype("f8" if pixels.dtype.itemsize > 4 else "f4")
    scaled = (pixels.astype(wide, copy=False) - low) / (high - low)
    return scaled.astype(np.float32, copy=False)


def _another_scale(lowest: float, highest: float, seen: tuple[float, float]) -> str:
    """Say that pixels are on another scale, and what to do."""
    low, high = seen
    return (
        f"has pixels from {lowest:g} to {highest:g}, but the images seen in fit had "
        f"another range: ({low:g}, {high:g}). Bring all images to one scale, or pass "
        "value_range=(black, white)."
    )


def _too_far(lowest: float, highest: float, value_range: tuple[float, float]) -> bool:
    """Tell whether values cannot be on the scale of ``value_range``."""
    low, high = value_range
    span = high - low
    below = _BELOW if low >= 0 else _FAR
    return highest > low + (_FAR + _TOLERANCE) * span or lowest < low - below * span


def _within_unit(lowest: float, highest: float) -> bool:
    """Tell whether values are on the scale from 0 to 1."""
    return lowest >= -_TOLERANCE and highest <= 1 + _TOLERANCE


def _round_up(top: float) -> float:
    """Return the smallest round scale that reaches ``top``, overshoot aside."""
    reach = top / (1 + _TOLERANCE)
    if reach <= 1:
        return 1.0
    power = 2.0 ** math.ceil(math.log2(reach))
    return power - 1 if power - 1 in _BIT_DEPTHS else power


def _extent(rows: ImageRows) -> tuple[float, float] | None:
    """Return the lowest and highest value of all images with finite pixels."""
    lowest, highest = math.inf, -math.inf
    for block in rows.blocks():
        low, high = float(block.min()), float(block.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
            if not finite.any():
                continue
            low, high = float(block[finite].min()), float(block[finite].max())
        lowest, highest = min(lowest, low), max(highest, high)
    return None if lowest > highest else (lowest, highest)


def _checked(value_range, dtype: np.dtype | None) -> tuple[float, float]:
    """Return a range given by the user as two floats."""
    try:
        low, high = value_range
    except (TypeError, ValueError):
        low = high = None
    finite = all(isinstance(v, Real) and math.isfinite(v) for v in (low, high))
    if not finite or low >= high:
        raise ValueRangeError(
            f"value_range={value_range!r} must be (black, white): two finite numbers, "
            "the smaller one first."
        )
    if dtype in (np.bool_, np.uint8) and (low, high) != (0, FULL_RANGE[dtype]):
        raise ValueRangeError(
            f"value_range={value_range!r} cannot apply to {dtype} images, which always "
            f"range from 0 to {FULL_RANGE[dtype]:g}. Convert them to float to scale "
            "them differently."
        )
    return float(low), float(high)
