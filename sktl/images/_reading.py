"""X as the user gives it → a source of images, or an error that says what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sktl.exceptions import ImageInputError
from sktl.images._arrays import CHANNELS, as_ndarray, check_dtype, is_tensor
from sktl.images._sources import (
    EncodedImages,
    PillowImages,
    SeparateArrays,
    StackedArrays,
    is_missing,
    kind_of,
)
from sktl.images._tables import check_image_shape, is_sparse, shape_of_rows

_FORMS = (
    "Images come as an array (n, h, w[, c]), as rows of a table, or as a list, Series "
    "or column of paths, encoded bytes, PIL images or arrays."
)


def read(X, image_shape=None):
    """Return the source of the images in X."""
    if image_shape is not None:
        image_shape = check_image_shape(image_shape)
    if is_sparse(X):
        raise ImageInputError(
            "Sparse data was passed for X, but dense data is required. Use "
            "'.toarray()' to convert it."
        )
    if isinstance(X, str | bytes | bytearray | memoryview | os.PathLike | Image.Image):
        hint = (
            " sktl.datasets.load_image_folder lists the images of a folder."
            if isinstance(X, str | os.PathLike)
            else ""
        )
        raise ImageInputError(
            f"X is a single {type(X).__name__}, not a collection of images. Put it in "
            f"a list: [X].{hint}"
        )
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        X = _column_or_table(X)
    elif hasattr(X, "to_pylist"):  # an Arrow array
        X = X.to_pylist()
    elif hasattr(X, "to_numpy"):  # a Series, an Index
        X = _series(X)
    elif isinstance(X, Sequence):
        X = list(X)
    if isinstance(X, list | tuple):
        return _list(X, image_shape)
    if isinstance(X, np.ndarray) or is_tensor(X) or hasattr(X, "__array__"):
        first = is_tensor(X)
        X = as_ndarray(X)
        if X.dtype.kind in "OUS":
            return _object_array(X, image_shape)
        return _array(X, image_shape, channels_first=first)
    raise ImageInputError(f"X is a {type(X).__name__}. {_FORMS}")


def _column_or_table(X):
    """Return the one column of a frame, or the numbers in it."""
    if X.shape[1] == 1:
        column = _series(X[X.columns[0]] if hasattr(X, "iloc") else X.to_series(0))
        if column.dtype.kind not in "biufc":
            return column
        return column.reshape(-1, 1)
    return np.asarray(X)


def _series(X) -> np.ndarray:
    """Return a pandas or polars Series as an array: of numbers, or of objects."""
    if str(X.dtype).startswith(("List", "Object", "Binary", "String", "Categorical")):
        return _objects(X.to_list())  # polars, whose to_numpy is slow or fails here
    array = X.to_numpy()
    if array.dtype.kind in "biufc":
        return array
    return array.astype(object) if array.dtype.kind != "O" else array


def _list(X: Sequence, image_shape):
    """Read a list or tuple."""
    if not len(X):
        raise _empty((0,))
    types = set(map(type, X))
    nested = any(issubclass(kind, list | tuple) for kind in types)
    arrays = all(kind_of(kind) is SeparateArrays for kind in types)
    if nested or (arrays and all(np.ndim(x) <= 1 for x in X)):
        return _nested_list(X, image_shape)
    return _items(X, types)


def _nested_list(X: Sequence, image_shape):
    """Read lists of lists of numbers: a table, or images written out."""
    try:
        array = np.asarray(X if not is_tensor(X[0]) else [as_ndarray(x) for x in X])
    except ValueError as error:
        raise ImageInputError(
            "X is a list whose rows have different lengths, which is neither a table "
            f"nor an image ({error}). Make each image a NumPy array."
        ) from error
    if array.dtype.kind in "OUS":
        return _object_array(array, image_shape)
    return _array(array, image_shape, channels_first=False)


def _object_array(X: np.ndarray, image_shape):
    """Read an array of objects or strings."""
    if X.dtype.kind == "S":
        raise ImageInputError(
            f"X has dtype {X.dtype}, and NumPy drops trailing zeros from fixed-width "
            "bytes, which damages images. Use a list, or an array of dtype object."
        )
    if not X.size:
        raise _empty(X.shape)
    types = set(map(type, X.ravel()))
    if not any(kind_of(kind) for kind in types) and X.ndim > 1:
        return _array(_numbers(X), image_shape, channels_first=False)
    if X.ndim == 2 and X.shape[1] == 1:
        X = X[:, 0]
    if X.ndim != 1:
        raise ImageInputError(
            f"X has {X.shape[1]} columns and holds {_name(X.ravel()[0])}; images are "
            "one column. Select it: X[['path']] of a frame, X[:, 0] of an array."
        )
    return _items(X, types)


def _items(X: Sequence, types: set[type]):
    """Read images that come one by one and are all of one kind."""
    kinds = {kind_of(kind) for kind in types if not _is_missing_type(kind)}
    if len(kinds) == 1 and None not in kinds and not _holds_numbers(X, types):
        return kinds.pop()(X)
    present = [i for i, item in enumerate(X) if not is_missing(item)]
    if not present:
        raise ImageInputError(f"All rows of X are missing: row 0 is {X[0]!r}. {_FORMS}")
    first = X[present[0]]
    kind = kind_of(type(first))
    if kind is None:
        if _is_number(first):
            raise _one_dimensional(X)
        raise ImageInputError(f"Row {present[0]} of X is {_name(first)}. {_FORMS}")
    other = next(i for i in present if kind_of(type(X[i])) is not kind)
    raise ImageInputError(
        f"X holds rows of different kinds: row {present[0]} is {_name(first)}, row "
        f"{other} is {_name(X[other])}. All rows have to be of one kind."
    )


def _array(X: np.ndarray, image_shape, *, channels_first: bool):
    """Read an array of numbers."""
    check_dtype(X.dtype, "X")
    if X.ndim < 2:
        raise _one_dimensional(X)
    if X.ndim == 2:
        if X.shape[1] == 0:
            raise ImageInputError(
                f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 "
                "is required."
            )
        if not len(X):
            raise _empty(X.shape)
        shape = shape_of_rows(X.shape[1], image_shape)
        return StackedArrays(X.reshape(len(X), *shape), flat=True)
    if X.ndim > 4:
        raise ImageInputError(
            f"X has {X.ndim} dimensions (shape {X.shape}); images are (n, h, w) or "
            "(n, h, w, c)."
        )
    if not len(X):
        raise _empty(X.shape)
    if X.ndim == 4:
        X = _channels_last(X, channels_first)
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
    return StackedArrays(X)


def _channels_last(X: np.ndarray, channels_first: bool) -> np.ndarray:
    """Return a view of (n, c, h, w) or (n, h, w, c) with the channels last."""
    could_be_first, could_be_last = X.shape[1] in CHANNELS, X.shape[3] in CHANNELS
    if could_be_first and (channels_first or not could_be_last):
        return np.moveaxis(X, 1, 3)
    if could_be_last:
        return X
    raise ImageInputError(
        f"X has shape {X.shape}: wrong number of channels. Images have 1 (grey), 3 "
        "(RGB) or 4 (RGB and alpha) in the last dimension, or in the second."
    )


def _numbers(X: np.ndarray) -> np.ndarray:
    """Return an object array as one of numbers."""
    try:
        return np.array(X.tolist()) if X.ndim > 2 else X.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ImageInputError(
            f"X is an object array that holds neither images nor numbers ({error}). "
            f"{_FORMS}"
        ) from error


def _objects(items: list) -> np.ndarray:
    """Return a list as a 1-D object array, whatever its items are."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _empty(shape: tuple[int, ...]) -> ImageInputError:
    """X has no rows."""
    return ImageInputError(
        f"X is empty: found array with 0 sample(s) (shape={shape}) while a minimum of "
        "1 is required."
    )


def _one_dimensional(X) -> ImageInputError:
    """X is a row of numbers."""
    return ImageInputError(
        f"X is one-dimensional and holds numbers (shape {np.shape(X)}). Reshape your "
        "data with array.reshape(-1, 1) if it has a single feature, or "
        "array.reshape(1, -1) if it is a single image."
    )


def _is_missing_type(kind: type) -> bool:
    """Tell whether objects of a type can stand for a missing image."""
    return kind.__name__ in ("NoneType", "NAType", "NaTType") or issubclass(kind, float)


def _holds_numbers(X: Sequence, types: set[type]) -> bool:
    """Tell whether a float in X is a number, not a missing value."""
    if not any(issubclass(kind, float) for kind in types):
        return False
    return any(isinstance(x, float) and not is_missing(x) for x in X)


def _is_number(x) -> bool:
    """Tell whether x is a scalar number."""
    return isinstance(x, int | float | complex | np.number | np.bool_)


def _name(item) -> str:
    """Say in words what an item is."""
    kind = kind_of(type(item))
    if isinstance(item, str | os.PathLike):
        return f"a path ({os.fspath(item)!r})"
    if kind is EncodedImages:
        return "encoded bytes"
    if kind is PillowImages:
        return f"a PIL image (mode {item.mode})"
    if kind is SeparateArrays:
        return f"an array of shape {np.shape(item)}"
    if isinstance(item, dict):
        return "a dict"
    return f"{item!r} ({type(item).__name__})"
