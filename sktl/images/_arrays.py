"""Arrays and tensors of any library as NumPy arrays, images as H x W x C."""

from __future__ import annotations

import sys

import numpy as np

from sktl.exceptions import ImageInputError

CHANNELS = (1, 3, 4)  # grey, RGB, RGB and alpha
FULL_RANGE = {
    np.dtype(np.bool_): 1.0,
    np.dtype(np.uint8): 255.0,
    np.dtype(np.uint16): 65535.0,
}


def is_tensor(x) -> bool:
    """Tell whether x is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def as_ndarray(x) -> np.ndarray:
    """Return an array or tensor as an ndarray of native floats, integers or bools."""
    if is_tensor(x):
        x = x.detach().cpu()
        if x.dtype == sys.modules["torch"].bfloat16:
            x = x.float()
        x = x.numpy()
    array = np.asarray(x)
    if array.dtype.kind in "iuf" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)  # long double, which no two machines share
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def dtype_of(x) -> np.dtype:
    """Return the type that the values of an array or tensor have as an ndarray."""
    if is_tensor(x):
        name = str(x.dtype).removeprefix("torch.")
        return np.dtype("float32" if name == "bfloat16" else name)
    dtype = getattr(x, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else np.asarray(x).dtype


def keeps_own_scale(dtype: np.dtype) -> bool:
    """Tell whether the type says which values are black and white."""
    return dtype in FULL_RANGE


def check_dtype(dtype: np.dtype, what: str) -> None:
    """Refuse types that hold no pixels."""
    if dtype.kind == "c":
        raise ImageInputError(
            f"Complex data not supported: {what} has dtype {dtype}. Take the magnitude "
            "or the real part first."
        )
    if dtype.kind not in "biuf":
        raise ImageInputError(
            f"{what} has dtype {dtype}, which holds no pixels. Pixels are bool, "
            "integers or floats."
        )


def channels_last(image: np.ndarray, *, first: bool) -> np.ndarray | None:
    """Return a view of one image as H x W or H x W x C; None if it is not an image.

    Where both ends could be the channels, ``first`` decides: tensors hold them first,
    arrays last.
    """
    if image.ndim == 2:
        return image
    if image.ndim != 3:
        return None
    could_be_first = image.shape[0] in CHANNELS
    could_be_last = image.shape[2] in CHANNELS
    if could_be_first and (first or not could_be_last):
        return np.moveaxis(image, 0, 2)
    return image if could_be_last else None
