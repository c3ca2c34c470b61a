"""What X may be: X as the user gives it → a source of images."""

from __future__ import annotations

import math
import os
import reprlib
import sys
import warnings
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
from PIL import Image

from sktl.exceptions import DataConversionWarning, ImageInputError
from sktl.images._decode import ENCODED
from sktl.images._sources import (
    CHANNELS,
    PATH,
    ImageSequence,
    ImageStack,
    as_ndarray,
    channels_last,
    check_dtype,
    dtype_of,
    is_missing,
    is_tensor,
    kind_of,
)

_FORMS = (
    "Pass images as an array (n, h, w[, c]), as rows of a table, or as a list, Series "
    "or column of paths, encoded bytes, PIL images or arrays."
)
Shape = tuple[int, ...]

_SINGLE = PATH | ENCODED | Image.Image
_NUMERIC = ("int", "uint", "float", "bool", "decimal", "double")


def is_flat(X) -> bool:
    """Tell whether X is a table of numbers, which scikit-learn validates.

    Cheap: looks at types and shapes, copies nothing.

    Parameters
    ----------
    X : object
        Anything that ``fit`` may be given.

    Returns
    -------
    flat : bool
        True for arrays, frames and lists of numbers with at most two dimensions, and
        for sparse matrices. False for images in any other form.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import is_flat
    >>> is_flat(np.zeros((10, 64))), is_flat([[0, 1], [2, 3]])
    (True, True)
    >>> is_flat(np.zeros((10, 8, 8))), is_flat(["a.jpg"]), is_flat([["a.jpg"]])
    (False, False, False)
    """
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(X):
        return True
    if isinstance(X, _SINGLE):
        return False
    if isinstance(X, list | tuple):
        first: Any = next((x for x in X if not is_missing(x)), None)
        if kind_of(type(first)) == "an array":
            return np.ndim(first) <= 1 and dtype_of(first).kind in "biufc"
        nested = isinstance(first, list | tuple) and len(first)
        return _is_number(type(first[0] if nested else first))
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        if all(str(dtype).lower().startswith(_NUMERIC) for dtype in X.dtypes):
            return True
        return _are_numbers(np.asarray(X, dtype=object))
    if is_tensor(X):
        return X.ndim <= 2
    if isinstance(getattr(X, "dtype", None), np.dtype) and hasattr(X, "shape"):
        # Arrays, and array-likes that stay on disk (h5py, zarr).
        if len(X.shape) > 2 or X.dtype != object:
            return len(X.shape) <= 2 and X.dtype.kind not in "USV"
        return _are_numbers(np.asarray(X))
    return hasattr(X, "__array__") and is_flat(np.asarray(X))


def read(X, image_shape=None) -> ImageSequence:
    """Return the source of the images in X."""
    if image_shape is not None:
        image_shape = _checked_shape(image_shape)
    if is_flat(X):
        return _table(X, image_shape)
    if isinstance(X, _SINGLE):
        hint = " sktl.datasets.load_image_folder lists the images of a folder."
        raise ImageInputError(
            f"X is a single {type(X).__name__}, not a collection of images. Put it in "
            f"a list: [X].{hint if isinstance(X, PATH) else ''}"
        )
    channels_first = is_tensor(X)
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        X = X[X.columns[0]] if X.shape[1] == 1 else np.asarray(X)
    if hasattr(X, "to_list") and not str(X.dtype).startswith("Array"):
        X = X.to_list()  # a Series, unless polars holds numeric arrays in it
    elif hasattr(X, "to_pylist"):  # an Arrow array
        X = X.to_pylist()
    if not isinstance(X, Sequence):
        if not hasattr(X, "__array__"):
            raise ImageInputError(f"X is a {type(X).__name__}. {_FORMS}")
        X = np.atleast_1d(as_ndarray(X))
    if not len(X):
        raise ImageInputError(
            f"X is empty: found array with 0 sample(s) (shape={np.shape(X)}) while a "
            "minimum of 1 is required."
        )
    if isinstance(X, np.ndarray):
        if X.dtype == object and X.ndim > 2 and _are_numbers(X):
            X = np.array(X.tolist())
        if X.dtype.kind not in "OUS":
            return _stack(X, image_shape, channels_first)
        X = _column(X)
    types = set(map(type, X))
    nested = any(issubclass(kind, list | tuple) for kind in types)
    if nested and isinstance(X, Sequence):
        return read(_written_out(X), image_shape)
    return _items(X, types)


def _table(X, image_shape: Shape | None) -> ImageStack:
    """Read rows of flattened images, checked as scikit-learn checks any table."""
    from sklearn.utils import check_array

    if is_tensor(X):
        X = as_ndarray(X)
    elif isinstance(X, list | tuple):
        X = _written_out(X)
    try:
        X = check_array(X, ensure_all_finite=False)
    except (TypeError, ValueError) as error:
        raise ImageInputError(f"X is not a valid table: {error}") from error
    X = as_ndarray(X)
    check_dtype(X.dtype, "X")
    shape = _shape_of_rows(X.shape[1], image_shape)
    return ImageStack(X.reshape(len(X), *shape), flat=True)


def _stack(X: np.ndarray, image_shape: Shape | None, prefer_first: bool) -> ImageStack:
    """Read an array of numbers with three dimensions or more."""
    check_dtype(X.dtype, "X")
    if X.ndim > 3:
        images = channels_last(X, prefer_first=prefer_first) if X.ndim == 4 else None
        if images is None:
            raise ImageInputError(
                f"X has shape {X.shape}, but images are (n, h, w), (n, h, w, c) or (n, "
                "c, h, w), with c = 1 (grey), 3 (RGB) or 4 (RGB and alpha) channels."
            )
        X = images
    elif X.shape[2] in (3, 4) and min(X.shape[:2]) > 4 and image_shape is None:
        raise ImageInputError(
            f"X of shape {X.shape} looks like a single colour image. Put it in a list, "
            f"[X]; pass image_shape={X.shape[1:]} if it really holds {len(X)} grey "
            "images of that size."
        )
    if 0 in X.shape[1:3]:
        raise ImageInputError(f"X of shape {X.shape} holds images without any pixels.")
    if image_shape is not None and X.shape[1:] not in (image_shape, image_shape[:2]):
        raise ImageInputError(
            f"image_shape={image_shape} does not fit X, whose images are "
            f"{X.shape[1:]}. It is only needed for images that are rows of a table."
        )
    return ImageStack(X)


def _column(X: np.ndarray) -> np.ndarray:
    """Return an array of paths or other objects as one column."""
    if X.dtype.kind == "S":
        raise ImageInputError(
            f"X has dtype {X.dtype}, and NumPy drops trailing zeros from fixed-width "
            "bytes, which damages images. Use a list, or an array of dtype object."
        )
    if X.ndim > 1 and X.shape != (len(X), 1):
        raise ImageInputError(
            f"X has {X.shape[1]} columns and holds {_name(X.ravel()[0])}, but images "
            "take one column. Select it: X[['path']] in a frame, X[:, 0] in an array."
        )
    return X.ravel()


def _items(X: Sequence | np.ndarray, types: set[type]) -> ImageSequence:
    """Read images that come one by one and are all of one kind."""
    row = next((i for i, item in enumerate(X) if not is_missing(item)), None)
    if row is None:
        raise ImageInputError(f"All rows of X are missing: row 0 is {X[0]!r}. {_FORMS}")
    kind = kind_of(type(X[row]))
    if kind is None:
        raise ImageInputError(f"Row {row} of X is {_name(X[row])}. {_FORMS}")
    others = {other for other in types if kind_of(other) != kind}
    for i, item in enumerate(X) if others else ():
        if type(item) in others and not is_missing(item):
            raise ImageInputError(
                f"X holds rows of different kinds: row {row} is {_name(X[row])}, row "
                f"{i} is {_name(item)}. All rows have to be of one kind."
            )
    return ImageSequence(X, kind)


def _shape_of_rows(width: int, image_shape: Shape | None) -> Shape:
    """Return (h, w) or (h, w, c) of images that are rows of ``width`` numbers."""
    if image_shape is not None:
        if math.prod(image_shape) != width:
            raise ImageInputError(
                f"image_shape={image_shape} takes {math.prod(image_shape)} values per "
                f"row, but X has {width} columns. Give the (height, width) or (height, "
                "width, channels) that X was flattened from."
            )
        return image_shape
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


def _checked_shape(image_shape) -> Shape:
    """Return ``image_shape`` as ints: (h, w), or (h, w, c) with 1, 3 or 4 channels."""
    shape = tuple(image_shape) if np.iterable(image_shape) else ()
    ints = all(isinstance(side, int | np.integer) and side > 0 for side in shape)
    if not ints or len(shape) not in (2, 3) or not set(shape[2:]) <= set(CHANNELS):
        raise ImageInputError(
            f"image_shape={image_shape!r} must be (height, width) or (height, width, "
            "channels), with 1, 3 or 4 channels."
        )
    return tuple(map(int, shape))


def _written_out(X: Sequence) -> np.ndarray:
    """Return lists of lists, or of rows that are arrays, as one array."""
    try:
        return np.asarray([as_ndarray(x) if is_tensor(x) else x for x in X])
    except ValueError as error:
        raise ImageInputError(
            "X is a list whose rows have different lengths, which is not a table. Make "
            "each image a NumPy array."
        ) from error


def _is_number(kind: type) -> bool:
    """Tell whether objects of a type are scalar numbers."""
    return issubclass(kind, Number | np.generic) and kind_of(kind) is None


def _are_numbers(X: np.ndarray) -> bool:
    """Tell whether an object array holds numbers and no images."""
    types: set[type] = set()
    for some in (X.ravel()[:1], X.ravel()):  # the first of a million paths is enough
        types = set(map(type, some))
        if any(kind_of(kind) or issubclass(kind, list | tuple) for kind in types):
            return False
    return any(map(_is_number, types))


def _name(item) -> str:
    """Describe an item in words."""
    kind = kind_of(type(item))
    if kind == "a path":
        return f"a path ({os.fspath(item)!r})"
    if kind == "an array":
        return f"an array of shape {np.shape(item)}"
    return kind or f"{reprlib.repr(item)} ({type(item).__name__})"
