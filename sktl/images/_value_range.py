"""Which pixel values are black and white, where their type does not say it."""

from __future__ import annotations

import math
import warnings
from numbers import Real

import numpy as np

from sktl.exceptions import (
    DataConversionWarning,
    ImageInputError,
    UnreadableImageError,
    ValueRangeError,
)

# Resizing and compression let values overshoot their scale by a few per cent.
TOLERANCE = 0.05
# Beyond this many times the range, values are on another scale: digits (0 ... 16) are
# told from 8-bit values by it, while a bright image after a fit on dark ones passes.
_FAR = 4.0
_BELOW = 0.5
# So many images whose values all lie within [0, 1], not just 0 and 1, are no dark
# images on a scale of 255 and more.
_ENOUGH_ROWS = 10
_ROUND = (255.0, 4095.0, 65535.0)


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
        all folds of a cross-validation agree.

    Raises
    ------
    ValueRangeError
        If ``value_range`` is not a range, or cannot apply to these images.

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
        return None
    lowest, highest, _ = _extent(rows)
    return snap(lowest, highest)


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
    if not rows.scaled:
        return
    lowest, highest, fractional = _extent(rows)
    seen = f"The pixels of X go from {lowest:g} to {highest:g}, another scale than "
    mend = (
        "Bring all images to one scale, or pass value_range=(black, white) if this is "
        "one."
    )
    if value_range is None:
        if lowest < -TOLERANCE or highest > 1 + TOLERANCE:
            raise ValueRangeError(
                f"{seen}that of the images seen in fit, whose type (8 or 16 bits, or "
                f"files) has a range of its own. {mend}"
            )
        return
    low, high = value_range
    seen += f"the range ({low:g}, {high:g}) of the images seen in fit. "
    if too_far(lowest, highest, value_range):
        raise ValueRangeError(seen + mend)
    if high >= 128 and fractional and lowest >= 0 and highest <= 1:
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
    top = max(abs(lowest), abs(highest))
    if lowest >= -TOLERANCE * max(highest, 0.0):
        return 0.0, _round_up(highest)
    top = _round_up(top)
    return -top, top


def too_far(lowest: float, highest: float, value_range: tuple[float, float]) -> bool:
    """Tell whether values cannot be on the scale of ``value_range``."""
    low, high = value_range
    span = high - low
    below = _BELOW if low >= 0 else _FAR
    return highest > low + (_FAR + TOLERANCE) * span or lowest < low - below * span


def _round_up(top: float) -> float:
    """Return the smallest round scale that reaches ``top``, give or take overshoot."""
    reach = top / (1 + TOLERANCE)
    if reach <= 1:
        return 1.0
    power = 2.0 ** math.ceil(math.log2(reach))
    for exact in _ROUND:
        if exact / 2 < reach <= exact or power == exact + 1:
            return exact
    return power


def _extent(rows) -> tuple[float, float, bool]:
    """Return the lowest and highest value, and whether some are not whole numbers.

    Rows without readable pixels are left out: whoever reads them reports them.
    """
    lowest, highest, fractional = math.inf, -math.inf, False
    for i in range(len(rows)):
        try:
            pixels = rows[i]
        except UnreadableImageError:
            continue
        if not pixels.size:
            continue
        if pixels.ndim == 3:
            pixels = pixels[..., :3]
        low, high = float(pixels.min()), float(pixels.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            continue
        lowest, highest = min(lowest, low), max(highest, high)
        if high <= 1 and not fractional:
            fractional = bool((pixels != np.trunc(pixels)).any())
    if lowest > highest:
        raise ImageInputError(
            "X holds no image whose pixels are all finite; NaN or infinity in each."
        )
    return lowest, highest, fractional


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
    return float(low), float(high)
