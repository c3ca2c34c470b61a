"""Which pixel values are black and white, where their type does not say it."""

from __future__ import annotations

import math
import warnings
from numbers import Real

import numpy as np

from sktl.exceptions import DataConversionWarning, ImageInputError, ValueRangeError
from sktl.images._arrays import FULL_RANGE

# Resizing and compression let values overshoot their scale by a few per cent.
TOLERANCE = 0.05
# Values beyond this many times the range are on another scale. Digits (0 ... 16) are
# told from 8-bit values by it, while a bright image after a fit on dark ones passes.
_FAR = 4.0
_BELOW = 0.5
# So many images with values in [0, 1] that are not all whole numbers are no dark
# images on a scale of 255 and more; a few may be.
_ENOUGH_ROWS = 10
_MEANT = (255.0, 4095.0, 65535.0)


def learn_value_range(rows, value_range=None) -> tuple[float, float] | None:
    """Return the values that mean black and white in these images.

    Parameters
    ----------
    rows : ImageRows
        The images that an estimator is fitted to.

    value_range : (float, float) or None, default=None
        The answer, if it is known; it is checked and returned.

    Returns
    -------
    value_range : (float, float) or None
        None if the type of the pixels says it: bool, uint8 and uint16 use their full
        range. Other types get (0, 1) when their values lie within it, and else the
        range of the values rounded up: to 255, 4095 or 65535 where these are meant,
        to a power of two otherwise, and symmetric when there are negative values. So
        the folds of a cross-validation agree.

    Raises
    ------
    ValueRangeError
        If ``value_range`` is not a range, or cannot apply to these images.
    ImageInputError
        If a range has to be learned and no image has finite pixels.

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
        return _checked(value_range, rows)
    if not rows.scaled:
        _warn_of_unused_bits(rows)
        return None
    extent = _extent(rows)
    if extent is None:
        raise ImageInputError(
            "No image in X has readable pixels that are all finite: NaN, infinity or "
            f"missing values in each, beginning with {rows.where(0)}."
        )
    return snap(*extent)


def check_value_range(rows, value_range: tuple[float, float] | None) -> None:
    """Refuse images that are on another scale than those seen in ``fit``.

    Values a little beyond the range are welcome, and so are images darker than those
    seen: the range is a scale, not a limit.

    Parameters
    ----------
    rows : ImageRows
        The images to be transformed.

    value_range : (float, float) or None
        What :func:`learn_value_range` returned in ``fit``.

    Raises
    ------
    ValueRangeError
        If the values are on another scale altogether.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import ImageRows, check_value_range
    >>> bright = np.full((1, 8, 8), 200.0)
    >>> check_value_range(ImageRows.of(bright), (0.0, 255.0))
    >>> check_value_range(ImageRows.of(bright), (0.0, 1.0))
    Traceback (most recent call last):
    ...
    sktl.exceptions.ValueRangeError: The pixels of X go from 200 to 200...
    """
    extent = _extent(rows) if rows.scaled else None
    if extent is None:
        return
    lowest, highest = extent
    seen = f"The pixels of X go from {lowest:g} to {highest:g}, another scale than "
    mend = (
        "Bring all images to one scale, or pass value_range=(black, white) if this is "
        "one."
    )
    if value_range is None:
        if not within_unit(lowest, highest):
            raise ValueRangeError(
                f"{seen}that of the images seen in fit, whose type (8 or 16 bits, or "
                f"files) has a range of its own. {mend}"
            )
        return
    low, high = value_range
    seen += f"the range ({low:g}, {high:g}) of the images seen in fit. "
    if too_far(lowest, highest, value_range):
        raise ValueRangeError(seen + mend)
    if high >= 128 and lowest >= 0 and highest <= 1 and not _whole_numbers(rows):
        if len(rows) >= _ENOUGH_ROWS:
            raise ValueRangeError(seen + mend)
        warnings.warn(
            f"The pixels of X lie within [0, 1], while fit saw a range of ({low:g}, "
            f"{high:g}). They are taken as almost black; multiply them by {high:g} if "
            "they are not.",
            DataConversionWarning,
            stacklevel=3,
        )


def snap(lowest: float, highest: float) -> tuple[float, float]:
    """Return the round range that values from lowest to highest are meant on."""
    if lowest >= -TOLERANCE * max(highest, 0.0):
        return 0.0, _round_up(highest)
    top = _round_up(max(-lowest, highest))
    return -top, top


def too_far(lowest: float, highest: float, value_range: tuple[float, float]) -> bool:
    """Tell whether values cannot be on the scale of ``value_range``."""
    low, high = value_range
    span = high - low
    below = _BELOW if low >= 0 else _FAR
    return highest > low + (_FAR + TOLERANCE) * span or lowest < low - below * span


def within_unit(lowest: float, highest: float) -> bool:
    """Tell whether values are on the scale from 0 to 1."""
    return lowest >= -TOLERANCE and highest <= 1 + TOLERANCE


def _round_up(top: float) -> float:
    """Return the smallest round scale that reaches ``top``, overshoot aside."""
    reach = top / (1 + TOLERANCE)
    if reach <= 1:
        return 1.0
    power = 2.0 ** math.ceil(math.log2(reach))
    return power - 1 if power - 1 in _MEANT else power


def _extent(rows) -> tuple[float, float] | None:
    """Return the lowest and highest value of all images with finite pixels."""
    lowest, highest = math.inf, -math.inf
    for block in rows.blocks():
        low, high = float(block.min()), float(block.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            whole = np.isfinite(block).reshape(len(block), -1).all(axis=1)
            if not whole.any():
                continue
            low, high = float(block[whole].min()), float(block[whole].max())
        lowest, highest = min(lowest, low), max(highest, high)
    return None if lowest > highest else (lowest, highest)


def _whole_numbers(rows) -> bool:
    """Tell whether all pixels are whole numbers."""
    return all((block == np.trunc(block)).all() for block in rows.blocks())


def _warn_of_unused_bits(rows) -> None:
    """Say so when 16-bit images look like those of a 10, 12 or 14-bit camera."""
    if rows.dtype != np.uint16:
        return
    extent = _extent(rows)
    if extent is not None and extent[1] < 2**14:
        high = 2 ** max(8, math.ceil(math.log2(extent[1] + 1))) - 1
        warnings.warn(
            f"The pixels of X are uint16 and go up to {extent[1]:g} of 65535, so the "
            f"images are taken as dark. Pass value_range=(0, {high}) if that is white.",
            DataConversionWarning,
            stacklevel=3,
        )


def _checked(value_range, rows) -> tuple[float, float]:
    """Return a range given by the user as two floats."""
    try:
        low, high = value_range
    except (TypeError, ValueError):
        low = high = None
    finite = all(isinstance(v, Real) and math.isfinite(v) for v in (low, high))
    if not finite or low >= high:
        raise ValueRangeError(
            f"value_range={value_range!r} has to be (black, white): two finite numbers "
            "in rising order."
        )
    if rows.dtype in (np.bool_, np.uint8):
        full = FULL_RANGE[rows.dtype]
        if (low, high) != (0, full):
            raise ValueRangeError(
                f"value_range={value_range!r} cannot apply to {rows.dtype} images, "
                f"which always go from 0 to {full:g}. Convert them to float if they "
                "mean something else."
            )
    return float(low), float(high)
