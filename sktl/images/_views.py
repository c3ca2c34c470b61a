"""Views: images varied at random, as rows that look like the images themselves.

Nothing here needs torch, except varying pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from sktl.exceptions import ImageInputError

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from sktl.images._recipe import Recipe
    from sktl.images._rows import ImageRows

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
    ``shift`` the longest way that an image moves, as a share of its sides, ``rotate``
    the largest rotation in degrees, ``color`` the largest relative change of
    brightness, contrast and saturation. What a move uncovers is filled with the mirror
    image of what lies beside it.
    """

    flip: float = 0.0
    vertical_flip: float = 0.0
    crop: float = 1.0
    shift: float = 0.0
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
        return f"variation 2 {asdict(self)}"

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Return a varied batch (n, c, h, w) of floats on a scale from 0 to 1."""
        from sktl.images._vary import vary

        return vary(batch, self, generator)


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

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Return a varied batch (n, c, h, w)."""
        import torch

        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            varied = [self.transform(image) for image in batch]
        for image in varied:
            if not isinstance(image, torch.Tensor) or image.shape != batch.shape[1:]:
                shape = tuple(getattr(image, "shape", ()))
                raise ValueError(
                    f"augment={self.transform!r} turned an image of shape "
                    f"{tuple(batch.shape[1:])} into {type(image).__name__} of shape "
                    f"{shape}; it has to return a tensor of the same shape."
                )
        return torch.stack(varied).to(torch.float32)


AnyVariation = Variation | TransformVariation


def variation_of(augment) -> AnyVariation | None:
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
    return batch if batch.is_floating_point() else batch.float() / 255


class ViewRows:
    """Views of images: the chosen ones of the first image, of the next, and so on.

    A view is a function of the image's content, the variation, the seed and the
    number of the view, not of the image's place in X. So the activations of a view are
    computed once and shared by folds, candidates and processes, like those of the
    image itself, which is view 0. To the engine, views look like images.
    """

    def __init__(
        self,
        images: ImageRows,
        variation: AnyVariation,
        seed: int,
        numbers: Sequence[int],
    ):
        self.images = images
        self.variation = variation
        self.numbers = numbers
        self.dtype = images.dtype
        self.scaled = images.scaled
        self.is_storable = variation.is_storable
        self._seed = f"{variation.key} seed {seed} view"

    def __len__(self) -> int:
        return len(self.images) * len(self.numbers)

    def where(self, i: int) -> str:
        """Return what to call row ``i`` in a message."""
        return self.images.where(i // len(self.numbers))

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the pixels of the images, which define the value range."""
        return self.images.blocks()

    def fingerprint(self, i: int) -> bytes:
        """Return 16 bytes that stand for the pixels of this view."""
        row, k = divmod(i, len(self.numbers))
        image = self.images.fingerprint(row)
        if self.numbers[k] == 0:
            return image
        content = f"{self._seed} {self.numbers[k]} ".encode() + image
        return hashlib.blake2b(content, digest_size=16).digest()

    def prepare(self, i: int, recipe: Recipe, value_range=None) -> Tensor:
        """Return the pixels of this view, (c, h, w) floats on a scale from 0 to 1."""
        row, k = divmod(i, len(self.numbers))
        pixels = self.images.prepare(row, recipe, value_range)
        if self.numbers[k] == 0:
            return pixels
        from torch import Generator

        generator = Generator()
        generator.manual_seed(int.from_bytes(self.fingerprint(i)[:7], "little"))
        return self.variation(as_floats(pixels)[None], generator)[0]


@dataclass(frozen=True)
class Views:
    """Images as a user holds them, to be read as several views of each.

    It passes through the steps of a pipeline as its X. What reads images
    (``read_images``) finds ``n_views`` rows for each image, the image itself first.
    """

    X: Any
    variation: AnyVariation
    n_views: int
    seed: int

    def rows(self, images: ImageRows) -> Any:
        """Return the views of these images, which were read from X."""
        # A row of measurements is not a picture: flipping it would swap its columns.
        numbers = [0] * self.n_views if images.are_strips else range(self.n_views)
        return ViewRows(images, self.variation, self.seed, numbers)

    def __array__(self, dtype=None, copy=None):
        raise ImageInputError(
            "Views of images are not an array. The first step of the pipeline has to "
            "read images (PretrainedFeatures). Put a search around AugmentedEstimator, "
            "not inside it."
        )
