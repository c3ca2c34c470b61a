"""``Recipe``: the preprocessing that a network was trained with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sktl.exceptions import ImageInputError

if TYPE_CHECKING:
    from torch import Tensor

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")

# Version of how images become pixels, and part of every cache key. Raise it with any
# change that alters a pixel, so that old embeddings are not used again.
_PREPARATION = 1


@dataclass(frozen=True)
class Recipe:
    """The published preprocessing of a network: size, crop, interpolation, colours.

    The shorter side of an image is resized to ``resize``, the centre is cropped to
    ``size`` (with black borders if the image is smaller), and the pixels are
    normalised, as in ``torchvision.transforms._presets.ImageClassification`` and in
    timm's evaluation transform.

    Parameters
    ----------
    size : (int, int)
        Height and width that the network sees.
    resize : int, (int, int) or None
        Length of the shorter side before the crop; or a height and a width that the
        image is made just large enough to cover. None stretches the image to ``size``
        without a crop.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos"}, default="bilinear"
        How images are resized, always with antialiasing.
    channels : {1, 3}, default=3
        Colours that the network expects; 1 means grey.
    mean, std : tuple of float, default=those of ImageNet
        Mean and standard deviation of each channel, of pixels on a scale from 0 to 1.

    Examples
    --------
    >>> from sktl.images import Recipe
    >>> recipe = Recipe(size=(224, 224), resize=256)
    >>> recipe.at(112)
    Recipe(size=(112, 112), resize=128, interpolation='bilinear', channels=3, ...)
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None
    interpolation: str = "bilinear"
    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _as_size(self.size, "size"))
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if self.interpolation not in _INTERPOLATIONS:
            raise ValueError(
                f"interpolation={self.interpolation!r} is unknown. Choose one of "
                f"{', '.join(_INTERPOLATIONS)}."
            )
        if self.channels not in (1, 3):
            raise ValueError(f"channels={self.channels!r}: choose 1 (grey) or 3 (RGB).")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"mean={self.mean} and std={self.std} need one value for each of the "
                f"{self.channels} channels."
            )
        if self.resize is not None:
            _as_size(self.resize, "resize")

    @property
    def covered(self) -> tuple[int, int]:
        """Height and width that an image covers before its centre is cropped."""
        return self.size if self.resize is None else _as_size(self.resize, "resize")

    def at(self, image_size: int | tuple[int, int] | None) -> Recipe:
        """Return the same recipe at another size, with the resize in proportion.

        An int means a square, and None the same size.
        """
        if image_size is None:
            return self
        size = _as_size(image_size, "image_size")
        resize = self.resize
        if resize is not None:
            sides = zip(self.covered, size, self.size, strict=True)
            height, width = (max(1, round(c * new / old)) for c, new, old in sides)
            resize = height if height == width else (height, width)
        return replace(self, size=size, resize=resize)

    def normalise(self, batch: Tensor) -> Tensor:
        """Return a batch as the network expects it: float32, normalised per channel.

        The batch is (n, channels, height, width), of uint8 or of floats from 0 to 1.
        The result is a new tensor on the same device, in the same memory format.
        """
        import torch

        full = 255.0 if batch.dtype == torch.uint8 else 1.0
        shape = (1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float64)
        mean = torch.tensor(self.mean, dtype=torch.float64)
        scale = (1 / (full * std)).view(shape).to(batch.device, torch.float32)
        shift = (-mean / std).view(shape).to(batch.device, torch.float32)
        return torch.addcmul(shift, batch.to(torch.float32), scale)

    @property
    def key(self) -> str:
        """Short text that changes whenever a prepared or normalised pixel would."""
        mean = ",".join(f"{value:.9g}" for value in self.mean)
        std = ",".join(f"{value:.9g}" for value in self.std)
        height, width = self.size
        return (
            f"p{_PREPARATION}:{height}x{width}:{self.resize}:{self.interpolation}"
            f":{self.channels}:{mean}:{std}"
        )


def _as_size(size, name: str) -> tuple[int, int]:
    """Return a height and a width; an int means a square."""
    sides = tuple(size) if np.iterable(size) else (size, size)
    ints = all(isinstance(side, int | np.integer) and side > 0 for side in sides)
    if len(sides) != 2 or not ints:
        raise ImageInputError(
            f"{name}={size!r} must be a positive int, or (height, width)."
        )
    return int(sides[0]), int(sides[1])
