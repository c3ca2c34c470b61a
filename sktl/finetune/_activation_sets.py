"""Activations at the cut, as data sets: kept in memory, in blocks, or computed live.

Each gives whole batches (``__getitems__``): indexing a tensor once per batch instead
of once per row and collating keeps the loop over a linear head near a plain one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from skorch.dataset import Dataset
from skorch.helper import SliceDataset
from torch import Tensor

from sktl._warn_caller import warn_caller
from sktl._wording import size
from sktl.backbones import StagedNetwork
from sktl.engine import FrozenPart, activations
from sktl.exceptions import CacheWarning
from sktl.finetune._cut import Cut
from sktl.finetune._training_rows import TrainingRows
from sktl.images import AnyVariation, ImageRows, ViewRows, as_floats

# Rows to compute first when predicting; later blocks are as large as the bytes allow.
FIRST_BLOCK, BLOCK_BYTES = 128, 256 * 1024**2


def are_activations(X) -> bool:
    """Tell whether skorch has passed on one of our data sets, or a part of one."""
    if isinstance(X, (SliceDataset, torch.utils.data.Subset)):
        X = X.dataset
    return isinstance(X, Activations)


def whole_batch(batch):
    """Return a batch that a data set has already put together."""
    return batch


def autocast(device: str, precision: str) -> AbstractContextManager:
    """Return the context of mixed precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.partition(":")[0], dtype=getattr(torch, precision))


class Activations(Dataset):
    """Rows of what enters the trained part, with targets and weights.

    A batch is ``(x, y)``, or ``({"x": x, "sample_weight": weight}, y)`` when weights
    differ. Without targets ``y`` is a tensor of zeros, as in skorch.

    Random draws for a batch depend only on the seed, the epoch and the batch's first
    row, so processes that load batches need not share a random state.
    """

    def __init__(self, n: int, rows: TrainingRows | None = None, seed: int = 0):
        self.n = n
        self.y = torch.zeros(n)
        self.weight: Tensor | None = None
        if rows is not None:
            self.y = torch.as_tensor(rows.y)
            if np.ptp(rows.weight) > 0:
                self.weight = torch.as_tensor(rows.weight, dtype=torch.float32)
        self.epoch = 0
        self._seed = seed

    @property
    def X(self) -> Activations:  # noqa: N802
        """The rows themselves: what skorch's scoring callbacks predict."""
        return self

    def __len__(self) -> int:
        return self.n

    def inputs(self, positions: list[int]) -> Tensor:
        """Return the activations of some rows."""
        raise NotImplementedError

    def draws(self, positions: list[int]) -> torch.Generator:
        """Return the random generator of a batch in this epoch."""
        # torch's generator on the CPU uses only 32 bits of a seed.
        number = hash((self._seed, self.epoch, int(positions[0]))) % 2**32
        return torch.Generator().manual_seed(number)

    def __getitems__(self, positions: list[int]):
        x, y = self.inputs(positions), self.y[positions]
        if self.weight is None:
            return x, y
        return {"x": x, "sample_weight": self.weight[positions]}, y

    def __getitem__(self, position: int):
        x, y = self.__getitems__([position])
        row = {k: v[0] for k, v in x.items()} if isinstance(x, dict) else x[0]
        return row, y[0]


class KeptActivations(Activations):
    """Activations in memory; with several views, each visit to a row draws one.

    ``x`` holds all rows of the first view (the images themselves), then those of the
    next view, ...
    """

    def __init__(self, x: Tensor, rows: TrainingRows, seed: int = 0):
        super().__init__(len(rows), rows, seed)
        self.x = x
        self.n_views = len(x) // len(rows)

    def inputs(self, positions: list[int]) -> Tensor:
        """Return the activations of some rows, of a view drawn for each."""
        rows = torch.as_tensor(positions)
        if self.n_views > 1:
            draws = self.draws(positions)
            view = torch.randint(self.n_views, rows.shape, generator=draws)
            rows = rows + self.n * view
        return self.x[rows.to(self.x.device)]


class BlockActivations(Activations):
    """Activations computed a block at a time, for passes in order."""

    def __init__(self, images: ImageRows, source: ActivationSource):
        super().__init__(len(images))
        self._images = images
        self._source = source
        self._rows = range(0)
        self._held = torch.empty(0)
        self._block = FIRST_BLOCK

    def inputs(self, positions: list[int]) -> Tensor:
        """Return the activations of some rows."""
        return torch.stack([self._row(position) for position in positions])

    def _row(self, position: int) -> Tensor:
        if position not in self._rows:
            self._rows = range(position, min(position + self._block, self.n))
            images = self._images.take(list(self._rows))
            self._held = torch.from_numpy(self._source.at_cut(images))
            row_bytes = self._held[0].numel() * self._held.element_size()
            self._block = max(FIRST_BLOCK, BLOCK_BYTES // row_bytes)
        return self._held[position - self._rows.start]


class LiveActivations(Activations):
    """Activations computed again on every visit, from varied pixels."""

    def __init__(
        self,
        images: ImageRows,
        source: ActivationSource,
        rows: TrainingRows | None = None,
        variation: AnyVariation | None = None,
        seed: int = 0,
    ):
        super().__init__(len(images), rows, seed)
        self._images = images
        self._source = source
        self._variation = variation
        recipe = source.whole.recipe
        row_bytes = recipe.channels * recipe.size[0] * recipe.size[1]
        row_bytes *= 4 if images.scaled else 1
        fits = row_bytes * len(images) <= source.max_bytes
        self._keeps_pixels = fits and rows is not None  # predicting reads once
        self._pixels: dict[int, Tensor] = {}

    def inputs(self, positions: list[int]) -> Tensor:
        """Return the activations of some rows, for new variations of their pixels."""
        batch = self._prepared(positions).to(self._source.device)
        if self._variation is not None:
            batch = self._variation(as_floats(batch), self.draws(positions))
        return self._source.run_frozen(self._source.whole.recipe.normalise(batch))

    def _prepared(self, positions: Sequence[int]) -> Tensor:
        """Return prepared pixels, decoded in threads (decoding releases the GIL)."""
        missing = [i for i in positions if i not in self._pixels]
        fresh = {}
        if missing:
            with ThreadPoolExecutor(max_workers=4) as pool:
                pixels = pool.map(self._prepare, missing)
                fresh = dict(zip(missing, pixels, strict=True))
            if self._keeps_pixels:
                self._pixels.update(fresh)
        found = [self._pixels[i] if i in self._pixels else fresh[i] for i in positions]
        if len({pixels.dtype for pixels in found}) > 1:
            found = [as_floats(pixels) for pixels in found]
        return torch.stack(found)

    def _prepare(self, i: int) -> Tensor:
        whole = self._source.whole
        return self._images.prepare(i, whole.recipe, whole.value_range)


@dataclass(frozen=True)
class TrainingViews:
    """How training images are varied (None: not at all), and how many views are kept.

    If ``n_kept`` is None, the frozen stages run again in every epoch, on new views.
    """

    variation: AnyVariation | None
    n_kept: int | None
    seed: int


class DataSets:
    """The training and the held-out data set, on their way through skorch's loop."""

    def __init__(self, train: Activations | None, valid: Activations | None):
        self.train = train
        self.valid = valid


@dataclass
class ActivationSource:
    """Where activations come from: the engine, or frozen stages that run live."""

    whole: FrozenPart  # the whole network, up to its embedding
    cut: Cut
    device: str
    cache: object
    max_bytes: int  # the most memory that activations may take in training
    verbose: int

    def __post_init__(self) -> None:
        self.frozen = self.cut.part_before(self.whole)
        self._network: StagedNetwork | None = None

    def embeddings(self, images) -> np.ndarray:
        """Return the embeddings of images."""
        return self._computed(images, self.whole)

    def at_cut(self, images) -> np.ndarray:
        """Return activations at the cut, which the engine computes once per image."""
        assert self.frozen is not None
        return self._computed(images, self.frozen)

    def _computed(self, images, part: FrozenPart) -> np.ndarray:
        return activations(
            images,
            part,
            device=self.device,
            cache=self.cache,
            verbose=self.verbose,
            label=self.whole.backbone.name,
        )

    def run_frozen(self, batch: Tensor) -> Tensor:
        """Return the activations of a normalised batch, computed live."""
        if self.cut.after is None:
            return batch
        if self._network is None:
            self._network = self.whole.backbone.load()
            if self.device != "cpu":
                self._network = copy.deepcopy(self._network).to(self.device)
        # Not inference_mode: its tensors may not enter a later backward pass.
        with torch.no_grad(), autocast(self.device, self.whole.precision):
            return self._network.run(batch, upto=self.cut.after).float()

    def first_row(self, rows: TrainingRows) -> Tensor:
        """Return what enters the trained part for the first of the rows."""
        images = rows.images.take([0])
        if self.frozen is None:
            return LiveActivations(images, self).inputs([0])
        return torch.from_numpy(self.at_cut(images))

    def to_predict(self, images: ImageRows) -> Activations:
        """Return the data set of images to predict."""
        if self.frozen is None:
            return LiveActivations(images, self)
        return BlockActivations(images, self)

    def choose_views(
        self,
        variation: AnyVariation | None,
        n_views: int | None,
        seed: int,
        train: TrainingRows,
        valid: TrainingRows | None,
        row_bytes: int,
    ) -> TrainingViews:
        """Keep ``n_views`` views of the training rows, or none if they do not fit.

        The activations of one image take ``row_bytes``.
        """
        if self.frozen is None:
            return TrainingViews(variation, None, seed)
        variation = None if n_views == 1 else variation
        n_kept = 1 if variation is None else n_views
        n_rows = (n_kept or 0) * len(train) + (0 if valid is None else len(valid))
        if n_kept and not self._has_room(row_bytes * n_rows):
            n_kept = None
        return TrainingViews(variation, n_kept, seed)

    def to_train(
        self, train: TrainingRows, valid: TrainingRows | None, views: TrainingViews
    ) -> DataSets:
        """Return the data sets of the training rows and the held-out rows."""
        variation, n_kept, seed = views.variation, views.n_kept, views.seed
        if n_kept is None:
            live = LiveActivations(train.images, self, train, variation, seed)
            if valid is None:
                return DataSets(live, None)
            return DataSets(live, LiveActivations(valid.images, self, valid))
        parts = [self.at_cut(train.images)]
        if variation is not None:
            for number in range(1, n_kept):
                view = ViewRows(train.images, variation, seed, [number])
                parts.append(self.at_cut(view))
        kept = self._kept(parts, train, seed)
        if valid is None:
            return DataSets(kept, None)
        return DataSets(kept, self._kept([self.at_cut(valid.images)], valid))

    def _has_room(self, n_bytes: int) -> bool:
        """Tell whether activations of this size may be kept in memory; warn if not."""
        if n_bytes > self.max_bytes:
            warn_caller(
                f"The activations at the cut, after {self.cut.after!r}, take "
                f"{size(n_bytes)}, more than max_bytes allows "
                f"({size(self.max_bytes)}). The frozen stages run again in every "
                "epoch; raise max_bytes, or unfreeze fewer stages.",
                CacheWarning,
            )
        return n_bytes <= self.max_bytes

    def _kept(self, parts: list[np.ndarray], rows: TrainingRows, seed: int = 0):
        x = torch.from_numpy(np.concatenate(parts) if len(parts) > 1 else parts[0])
        return KeptActivations(x.to(self.device), rows, seed)
