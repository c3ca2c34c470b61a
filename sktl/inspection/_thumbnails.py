"""``Thumbnails``: the images of X as small pictures, or as networks see them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from PIL import Image

from sktl.exceptions import UnreadableImageError
from sktl.images import ImageRows, Recipe, learn_value_range


class Thumbnails:
    """Images as RGB pictures of uint8, whose longer side has ``side`` pixels at most.

    Smaller images keep their size.
    """

    def __init__(self, images: ImageRows, side: int = 128):
        self.images = images
        self.side = side

    def __getitem__(self, i: int) -> np.ndarray:
        """Return a picture (h, w, 3) of uint8; a grey cross if it cannot be read."""
        try:
            pixels = self.images[i]
        except UnreadableImageError:
            return _cross(min(self.side, 64))
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            return _cross(min(self.side, 64))
        if pixels.dtype != np.uint8:  # on the scale that a network would see
            full = 65535.0 if pixels.dtype == np.uint16 else 1.0
            low, high = self._value_range if self.images.scaled else (0.0, full)
            unit = np.nan_to_num((pixels.astype(np.float64) - low) / (high - low))
            pixels = (255 * unit.clip(0, 1)).round().astype(np.uint8)
        if pixels.ndim == 3:
            pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
        picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
        if max(picture.size) > self.side:
            picture.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        return np.asarray(picture)

    @cached_property
    def _value_range(self) -> tuple[float, float]:
        """The values of black and white, learned from a sample of the images."""
        n = len(self.images)
        few = np.linspace(0, n - 1, min(100, n)).astype(int)
        return learn_value_range(self.images.take(np.unique(few))) or (0.0, 1.0)


def as_seen(images, i: int, recipe: Recipe, value_range) -> np.ndarray:
    """Return an image, or a view, as a network with this recipe sees it."""
    import torch

    pixels = images.prepare(i, recipe, value_range)
    if pixels.dtype != torch.uint8:
        pixels = (255 * pixels.clamp(0, 1)).round().to(torch.uint8)
    return pixels.expand(3, -1, -1).permute(1, 2, 0).numpy()


def _cross(side: int) -> np.ndarray:
    """Return the picture of an image that cannot be read."""
    picture = np.full((side, side, 3), 225, dtype=np.uint8)
    y, x = np.mgrid[:side, :side]
    near = np.minimum(abs(x - y), abs(x + y - side + 1)) <= max(1, side // 24)
    picture[near] = 150
    return picture
