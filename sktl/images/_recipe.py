"""``Recipe``: how a network was told to look at images when it was trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING

from sktl.exceptions import ImageInputError

if TYPE_CHECKING:
    from torch import Tensor

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")

# Counts the ways in which sktl has turned images into pixels. Part of every cache key:
# raise it with any change that moves a pixel, and old embeddings are never mixed in.
_PREPARATION = 1


@dataclass(frozen=True)
class Recipe:
    """The published preparation of a network: size, crop, interpolation, colours.

    The shorter side of an image is resized to ``resize``, the centre is cropped to
    ``size`` (with black borders where the image is smaller), and the pixels are
    normalised: what ``torchvision.transforms._presets.ImageClassification`` and the
    evaluation transform of timm do.

    Parameters
    ----------
    size : (int, int)
        Height and width that the network sees.

    resize : int, (int, int) or None
        Length of the shorter side before the centre is cropped; or a height and a
        width that the image is made just large enough to cover. ``None`` stretches
        the image to ``size`` without a crop.

    interpolation : {"nearest", "bilinear", "bicubic", "lanczos"}, default="bilinear"
        How pixels are resized, always with antialiasing.

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
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation={self.interpolation!r} is unknown. Choose one of "
                f"{', '.join(INTERPOLATIONS)}."
            )
        if self.channels not in (1, 3):
            raise ValueError(f"channels={self.channels!r}: choose 1 (grey) or 3 (RGB).")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"mean={self.mean} and std={self.std} need one value for each of the "
                f"{self.channels} channels."
            )
        if self.resize is not None and min(self.covered) < 1:
            raise ValueError(f"resize={self.resize!r} has to be at least 1, or None.")

    @property
    def covered(self) -> tuple[int, int]:
        """Height and width that an image covers before its centre is cropped."""
        if self.resize is None:
            return self.size
        if isinstance(self.resize, Integral):
            return int(self.resize), int(self.resize)
        height, width = self.resize
        return int(height), int(width)

    def at(self, image_size: int | tuple[int, int] | None) -> Recipe:
        """Return the same recipe at another size, with the resize in proportion.

        Parameters
        ----------
        image_size : int, (int, int) or None
            Height and width that the network is to see; an int means a square and
            None the size as it is.

        Returns
        -------
        recipe : Recipe
            The recipe at that size.
        """
        if image_size is None:
            return self
        if isinstance(image_size, Integral):
            image_size = (image_size, image_size)
        size = _as_size(image_size, "image_size")
        resize = self.resize
        if resize is not None:
            sides = zip(self.covered, size, self.size, strict=True)
            height, width = (max(1, round(c * new / old)) for c, new, old in sides)
            resize = height if height == width else (height, width)
        return replace(self, size=size, resize=resize)

    def normalise(self, batch: Tensor) -> Tensor:
        """Return a batch as the network expects it: float32, of mean 0 and spread 1.

        Parameters
        ----------
        batch : Tensor of shape (n, channels, height, width)
            Prepared pixels: uint8, or floats on a scale from 0 to 1.

        Returns
        -------
        batch : Tensor of dtype float32
            A new tensor on the same device, in the same memory format.
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
    """Return ``size`` as two positive ints."""
    try:
        height, width = size
    except (TypeError, ValueError):
        height = width = None
    if not all(isinstance(side, Integral) and side > 0 for side in (height, width)):
        raise ImageInputError(
            f"{name}={size!r} has to be a positive int, or (height, width)."
        )
    return int(height), int(width)
