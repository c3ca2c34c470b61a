"""Rows of numbers: which X are tables, and how a row becomes an image."""

from __future__ import annotations

import math
import os
import sys
import warnings
from numbers import Integral, Number

import numpy as np
from PIL import Image

from sktl.exceptions import DataConversionWarning, ImageInputError
from sktl.images._arrays import CHANNELS, dtype_of, is_tensor
from sktl.images._sources import is_missing


def is_flat(X) -> bool:
    """Tell whether X is a table of numbers, which scikit-learn's validation is for.

    Cheap: looks at types and shapes, copies nothing.

    Parameters
    ----------
    X : object
        Anything that ``fit`` may be given.

    Returns
    -------
    flat : bool
        True for arrays, frames and nested lists of numbers with at most two
        dimensions, sparse matrices included: whatever is wrong with those,
        scikit-learn says it. False for images in any form, and for paths.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import is_flat
    >>> is_flat(np.zeros((10, 64))), is_flat([[0, 1], [2, 3]])
    (True, True)
    >>> is_flat(np.zeros((10, 8, 8))), is_flat(["a.jpg"]), is_flat([["a.jpg"]])
    (False, False, False)
    """
    if is_sparse(X):
        return True
    if isinstance(X, list | tuple):
        return _is_list_of_numbers(X)
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        return _is_frame_of_numbers(X)
    if is_tensor(X):
        return X.ndim <= 2
    if isinstance(getattr(X, "dtype", None), np.dtype) and hasattr(X, "shape"):
        # Arrays, and what is like one but stays on disk (h5py, zarr).
        if X.dtype != object:
            return len(X.shape) <= 2 and X.dtype.kind not in "USV"
        array = np.asarray(X)
        return 0 < array.ndim <= 2 and array.size > 0 and _are_numbers(array)
    if isinstance(X, str | bytes | os.PathLike | Image.Image):
        return False
    if hasattr(X, "__array__"):
        return is_flat(np.asarray(X))
    return False


def is_sparse(X) -> bool:
    """Tell whether X is a scipy sparse container, without importing scipy."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and sparse.issparse(X)


def shape_of_rows(width: int, image_shape=None) -> tuple[int, ...]:
    """Return (h, w) or (h, w, c) of images that are rows of ``width`` numbers."""
    if image_shape is not None:
        shape = check_image_shape(image_shape)
        if math.prod(shape) != width:
            raise ImageInputError(
                f"image_shape={image_shape!r} takes {math.prod(shape)} values per row, "
                f"but X has {width} columns. Give the (height, width) or (height, "
                "width, channels) that X was flattened from."
            )
        return shape
    side = math.isqrt(width)
    if side * side == width:
        return side, side
    side = math.isqrt(width // 3)
    if 3 * side * side == width:
        return side, side, 3
    warnings.warn(
        f"X has {width} columns, neither a square nor three times one, so each row is "
        "read as an image one pixel high. Pass image_shape=(height, width) or (height, "
        "width, channels) if the rows are flattened images.",
        DataConversionWarning,
        stacklevel=2,
    )
    return 1, width


def check_image_shape(image_shape) -> tuple[int, ...]:
    """Return ``image_shape`` as ints: (h, w), or (h, w, c) with known channels."""
    try:
        shape = tuple(image_shape)
    except TypeError:
        shape = ()
    ints = all(isinstance(side, Integral) and side > 0 for side in shape)
    if len(shape) not in (2, 3) or not ints:
        raise ImageInputError(
            f"image_shape={image_shape!r} has to be (height, width) or (height, width, "
            "channels)."
        )
    if len(shape) == 3 and shape[2] not in CHANNELS:
        raise ImageInputError(
            f"image_shape={image_shape!r} has {shape[2]} channels; 1, 3 and 4 are "
            "known. The order is (height, width, channels)."
        )
    return tuple(map(int, shape))


def _is_list_of_numbers(X) -> bool:
    """Tell whether a list is a table or a row of numbers, from its first element."""
    first = next((x for x in X if not is_missing(x)), math.nan if len(X) else None)
    if isinstance(first, list | tuple):
        return bool(first) and _is_number_or_not_image(first[0])
    if isinstance(first, np.ndarray) or is_tensor(first):
        return first.ndim <= 1 and dtype_of(first).kind in "biufc"
    return isinstance(first, Number | np.generic) and _is_number_or_not_image(first)


def _is_number_or_not_image(x) -> bool:
    """Tell whether x, in a row of X, is for scikit-learn to judge."""
    return isinstance(x, dict) or (
        isinstance(x, Number | np.generic) and not isinstance(x, str | bytes)
    )


def _is_frame_of_numbers(X) -> bool:
    """Tell whether a pandas or polars frame holds numbers, or could."""
    if X.shape[1] == 0:
        return True
    dtypes = list(X.dtypes)
    if all(str(dtype).lower().startswith(_NUMERIC_DTYPES) for dtype in dtypes):
        return True
    if X.shape[0] == 0:
        return False
    return _are_numbers(np.asarray(X, dtype=object))


_NUMERIC_DTYPES = ("int", "uint", "float", "bool", "decimal", "double")


def _are_numbers(X: np.ndarray) -> bool:
    """Tell whether an object array holds nothing that is an image or a path."""
    types = set(map(type, X.ravel()))
    images = str | bytes | bytearray | memoryview | os.PathLike | Image.Image
    numbers = False
    for kind in types:
        if issubclass(kind, images | np.ndarray | list | tuple):
            return False
        if hasattr(kind, "__array__") and not issubclass(kind, np.generic):
            return False  # tensors and the like
        numbers = numbers or issubclass(kind, Number | np.generic)
    return numbers
