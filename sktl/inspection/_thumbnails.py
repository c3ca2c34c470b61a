"""``Thumbnails``: the images of X as small pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sktl.exceptions import UnreadableImageError
from sktl.images import ImageRows, learn_value_range

_FULL = {np.dtype(np.bool_): 1.0, np.dtype(np.uint16): 65535.0}


class Thumbnails:
    """Rows of images as RGB pictures, small ones at their own size.

    Parameters
    ----------
    rows : ImageRows
        The images.
    side : int, default=128
        Pixels of the longer side that larger images are reduced to.
    """

    def __init__(self, rows: ImageRows, side: int = 128):
        self.rows = rows
        self.side = side
        self._value_range: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> np.ndarray:
        """Return a picture (h, w, 3) of uint8; a grey cross if it cannot be read."""
        try:
            pixels = self.rows[i]
        except UnreadableImageError:
            return _cross(min(self.side, 64))
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            return _cross(min(self.side, 64))
        pixels = self._eight_bits(pixels)
        if pixels.ndim == 3:
            pixels = pixels[..., :3]
            if pixels.shape[2] != 3:
                pixels = pixels[..., 0]
        picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
        if max(picture.size) > self.side:
            picture.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        return np.asarray(picture)

    def _eight_bits(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels as uint8, on the scale on which a network would see them."""
        if pixels.dtype == np.uint8:
            return pixels
        low, high = 0.0, _FULL.get(pixels.dtype, 1.0)
        if self.rows.scaled:
            if self._value_range is None:
                # A few rows tell the scale: it is snapped to a round one.
                few = np.linspace(0, len(self.rows) - 1, min(100, len(self.rows)))
                few = self.rows.take(np.unique(few.astype(int)))
                self._value_range = learn_value_range(few)
            low, high = self._value_range
        wide = np.nan_to_num((pixels.astype(np.float64) - low) / (high - low))
        return (255 * wide.clip(0, 1)).round().astype(np.uint8)


def _cross(side: int) -> np.ndarray:
    """Return the picture of an image that cannot be read."""
    picture = np.full((side, side, 3), 225, dtype=np.uint8)
    y, x = np.mgrid[:side, :side]
    near = np.minimum(abs(x - y), abs(x + y - side + 1)) <= max(1, side // 24)
    picture[near] = 150
    return picture
