"""Random variations of training images: flips, crops, rotations, colours, erasing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from numbers import Real

import torch
from torch import Tensor
from torch.nn import functional

from sktl.images import ImageRows, Recipe

# The named augmentations; benchmarks/study_finetune_defaults.md measures them.
PRESETS = {
    "none": {},
    "light": {"flip": 0.5, "crop": 0.75},
    "strong": {"flip": 0.5, "crop": 0.4, "rotate": 15.0, "color": 0.3, "erase": 0.25},
}


@dataclass(frozen=True)
class Variation:
    """How images are varied at random.

    ``flip`` and ``vertical_flip`` are probabilities. ``erase`` is the probability that
    a rectangle of up to a quarter of the image takes its mean colour. ``crop`` is the
    smallest share of the area that a random crop keeps before it is resized back,
    ``rotate`` the largest rotation in degrees, ``color`` the largest relative change of
    brightness, contrast and saturation.
    """

    flip: float = 0.0
    vertical_flip: float = 0.0
    crop: float = 1.0
    rotate: float = 0.0
    color: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            largest = 180.0 if name == "rotate" else 1.0
            if not isinstance(value, Real) or not 0 <= float(value) <= largest:
                raise ValueError(
                    f"augment: {name}={value!r} has to be a number from 0 to "
                    f"{largest:g}."
                )
        if self.crop < 0.05:
            raise ValueError(
                f"augment: crop={self.crop!r} is the share of the area to keep, from "
                "0.05 to 1 (no crop)."
            )

    # Whether views may be kept in the store, under a key that describes them fully.
    is_storable = True

    @property
    def key(self) -> str:
        """Text that changes whenever a varied pixel would."""
        return f"variation 1 {asdict(self)}"

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a varied batch (n, c, h, w) of floats on a scale from 0 to 1."""
        moves = self.flip or self.vertical_flip or self.rotate or self.crop < 1
        if moves:
            grid = functional.affine_grid(
                self._moves(batch, generator).to(batch.device),
                list(batch.shape),
                align_corners=False,
            )
            batch = functional.grid_sample(
                batch, grid, padding_mode="reflection", align_corners=False
            )
        if self.color:
            batch = self._recolour(batch, generator)
        if self.erase:
            batch = self._erase(batch, generator)
        return batch

    def _moves(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return one affine map for each image, (n, 2, 3)."""
        n, _, height, width = batch.shape

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(n, generator=generator)

        side = uniform(self.crop, 1.0).sqrt()
        stretch = uniform(-1.0, 1.0).mul(math.log(4 / 3) / 2).exp()
        stretch = stretch if self.crop < 1 else torch.ones(n)
        scale_x, scale_y = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
        shift_x, shift_y = (
            uniform(-1, 1) * (1 - scale_x),
            uniform(-1, 1) * (1 - scale_y),
        )
        mirror = 1 - 2 * (torch.rand(n, generator=generator) < self.flip).float()
        upside = (
            1 - 2 * (torch.rand(n, generator=generator) < self.vertical_flip).float()
        )
        angle = uniform(-1, 1) * math.radians(self.rotate)
        cos, sin = angle.cos(), angle.sin()
        # Rotation is in pixels; the grid is in units of half the sides.
        moves = torch.zeros(n, 2, 3)
        moves[:, 0, 0] = cos * scale_x * mirror
        moves[:, 0, 1] = -sin * scale_y * height / width
        moves[:, 1, 0] = sin * scale_x * mirror * width / height
        moves[:, 1, 1] = cos * scale_y * upside
        moves[:, 0, 2], moves[:, 1, 2] = shift_x, shift_y
        return moves

    def _recolour(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Change brightness, contrast and saturation."""
        factors = 1 + self.color * (
            2 * torch.rand(3, len(batch), 1, 1, 1, generator=generator) - 1
        ).to(batch.device)
        batch = batch * factors[0]
        mean = batch.mean((1, 2, 3), keepdim=True)
        batch = mean + (batch - mean) * factors[1]
        if batch.shape[1] == 3:
            grey = batch.mean(1, keepdim=True)
            batch = grey + (batch - grey) * factors[2]
        return batch.clamp(0, 1)

    def _erase(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Turn a rectangle of some images into their mean colour."""
        n, _, height, width = batch.shape
        draws = torch.rand(5, n, generator=generator)
        sides = 0.1 + 0.4 * draws[1:3]
        low = draws[3:5] * (1 - sides)

        def inside(axis: int, length: int) -> Tensor:
            place = (torch.arange(length) + 0.5) / length
            low_, side = low[axis, :, None], sides[axis, :, None]
            return (place >= low_) & (place < low_ + side)

        chosen = (draws[0] < self.erase)[:, None, None]
        box = inside(0, height)[:, :, None] & inside(1, width)[:, None, :] & chosen
        mean = batch.mean((2, 3), keepdim=True)
        return torch.where(box[:, None].to(batch.device), mean, batch)


class TransformVariation:
    """A torchvision v2 transform, or any callable on one image tensor.

    It takes and returns (c, h, w), floats on a scale from 0 to 1, and may draw from
    torch's random state, which is seeded for it and restored afterwards.
    """

    # Whether a function still does what it did yesterday cannot be seen from outside.
    is_storable = False
    key = "transform"

    def __init__(self, transform: Callable[[Tensor], Tensor]):
        self.transform = transform

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a varied batch (n, c, h, w)."""
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            varied = [self.transform(image) for image in batch]
        for image in varied:
            if not isinstance(image, Tensor) or image.shape != batch.shape[1:]:
                shape = tuple(getattr(image, "shape", ()))
                raise ValueError(
                    f"augment={self.transform!r} turned an image of shape "
                    f"{tuple(batch.shape[1:])} into {type(image).__name__} of shape "
                    f"{shape}; it has to return a tensor of the same shape."
                )
        return torch.stack(varied).to(torch.float32)


def variation_of(augment) -> Variation | TransformVariation | None:
    """Return what ``augment`` asks for; None if images stay unchanged."""
    if isinstance(augment, str):
        augment = PRESETS[augment]
    if isinstance(augment, Mapping):
        known = set(Variation.__dataclass_fields__)
        unknown = set(augment) - known
        if unknown:
            raise ValueError(
                f"augment has unknown entries {sorted(map(str, unknown))}. Known are "
                f"{', '.join(sorted(known))}."
            )
        variation = Variation(**augment)
        return None if variation == Variation() else variation
    return TransformVariation(augment)


def as_floats(batch: Tensor) -> Tensor:
    """Return prepared pixels as floats on a scale from 0 to 1."""
    return batch.float() / 255 if batch.dtype == torch.uint8 else batch


class ViewRows:
    """Images, each varied in one fixed way.

    A view is a function of the image's content, the variation, the seed and the
    number of the view, not of the image's place in X. So the activations of a view are
    computed once and shared by folds, candidates and processes, like those of the
    image itself. To the engine, views look like the images themselves.
    """

    def __init__(
        self,
        images: ImageRows,
        variation: Variation | TransformVariation,
        seed: int,
        number: int,
    ):
        self.images = images
        self.variation = variation
        self.scaled = images.scaled
        self._seed = f"{variation.key} seed {seed} view {number} ".encode()

    def __len__(self) -> int:
        return len(self.images)

    def where(self, i: int) -> str:
        """Return what to call row ``i`` in a message."""
        return self.images.where(i)

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes that stand for the pixels of this view."""
        content = self._seed + self.images.fingerprint(i)
        return hashlib.blake2b(content, digest_size=16).digest()

    def prepare(self, i: int, recipe: Recipe, value_range=None) -> Tensor:
        """Return the pixels of this view, (c, h, w) floats on a scale from 0 to 1."""
        pixels = as_floats(self.images.prepare(i, recipe, value_range))
        generator = torch.Generator()
        generator.manual_seed(int.from_bytes(self.fingerprint(i)[:7], "little"))
        return self.variation(pixels[None], generator)[0]
