"""``ViewRows``: one fixed random view of each image, as rows for the engine."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from sktl.finetune._augment import TransformVariation, Variation, as_floats
from sktl.images import ImageRows, Recipe


class ViewRows:
    """Images, each varied in one way that stays the same for good.

    A view is a function of the image's content, the variation, the seed and the
    number of the view, not of the place of the image in X. So the activations of a
    view are computed once and shared by folds, candidates and processes, like those
    of the image itself.

    Parameters
    ----------
    images : ImageRows
        The images as they are.
    variation : Variation or TransformVariation
        How they are varied.
    seed : int
        Draws all views.
    number : int
        Which view this is.
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
        """Return the words that point to row ``i`` in a message."""
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
