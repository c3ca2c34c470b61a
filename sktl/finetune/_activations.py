"""Data sets of activations at the cut: kept, computed block by block, or live.

Each gives whole batches (``__getitems__``): indexing a tensor once per batch instead
of once per row and collating is what keeps the head-only loop near a plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from skorch.dataset import Dataset
from skorch.helper import SliceDataset
from torch import Tensor, nn

from sktl.finetune._augment import TransformVariation, Variation, as_floats
from sktl.images import ImageRows, Recipe

# Rows to compute first when predicting; as many more at once as fit into the bytes.
FIRST_BLOCK, BLOCK_BYTES = 128, 256 * 1024**2


def are_activations(X) -> bool:
    """Tell whether skorch has passed on a data set of ours, or a part of one."""
    if isinstance(X, (SliceDataset, torch.utils.data.Subset)):
        X = X.dataset
    return isinstance(X, Activations)


def as_is(batch):
    """Return a batch that a data set has already put together."""
    return batch


class Activations(Dataset):
    """Rows of what enters the trained part, with targets and weights.

    A batch is ``(x, y)``, or ``({"x": x, "sample_weight": weight}, y)`` when weights
    differ. Without targets ``y`` is a tensor of zeros, as skorch has it.

    What is drawn for a batch follows from the seed, the epoch and the batch's first
    row, so that processes that load batches need not share a random state.
    """

    def __init__(
        self,
        n: int,
        y: Tensor | None = None,
        weight: Tensor | None = None,
        seed: int = 0,
    ):
        self.n = n
        self.y = torch.zeros(n) if y is None else y
        self.weight = weight
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
        """Return the source of what is drawn for a batch in this epoch."""
        # Of a seed, torch's generator on the CPU looks at 32 bits.
        number = hash((self._seed, self.epoch, int(positions[0]))) % 2**32
        return torch.Generator().manual_seed(number)

    def __getitems__(self, positions: list[int]):
        x = self.inputs(positions)
        if self.weight is not None:
            x = {"x": x, "sample_weight": self.weight[positions]}
        return x, self.y[positions]

    def __getitem__(self, position: int):
        x = self.inputs([position])[0]
        if self.weight is not None:
            x = {"x": x, "sample_weight": self.weight[position]}
        return x, self.y[position]


class KeptActivations(Activations):
    """Activations in memory; with several views, each visit of a row draws one.

    Parameters
    ----------
    x : Tensor of shape (n_views * n, ...)
        All rows of the first view (the images as they are), then the next view, ...
    n_views : int, default=1
        Number of views.
    seed : int, default=0
        Draws the views.
    """

    def __init__(self, x: Tensor, y=None, weight=None, n_views: int = 1, seed: int = 0):
        super().__init__(len(x) // n_views, y, weight, seed)
        self.x = x
        self.n_views = n_views

    def inputs(self, positions: list[int]) -> Tensor:
        """Return the activations of some rows, of a view drawn for each."""
        rows = torch.as_tensor(positions)
        if self.n_views > 1:
            draws = self.draws(positions)
            view = torch.randint(self.n_views, rows.shape, generator=draws)
            rows = rows + self.n * view
        return self.x[rows.to(self.x.device)]


class BlockActivations(Activations):
    """Activations computed a block at a time, for passes in order.

    Parameters
    ----------
    compute : callable
        Returns the activations of the rows in a range of positions.
    n : int
        Number of rows.
    """

    def __init__(self, compute: Callable[[range], np.ndarray], n: int):
        super().__init__(n)
        self._compute = compute
        self._rows = range(0)
        self._held = torch.empty(0)
        self._block = FIRST_BLOCK

    def inputs(self, positions: list[int]) -> Tensor:
        """Return the activations of some rows."""
        return torch.stack([self._row(position) for position in positions])

    def _row(self, position: int) -> Tensor:
        if position not in self._rows:
            self._rows = range(position, min(position + self._block, self.n))
            self._held = torch.from_numpy(self._compute(self._rows))
            row_bytes = self._held[0].numel() * self._held.element_size()
            self._block = max(FIRST_BLOCK, BLOCK_BYTES // row_bytes)
        return self._held[position - self._rows.start]


class LiveActivations(Activations):
    """Activations computed anew on every visit, from varied pixels.

    Parameters
    ----------
    images : ImageRows
        The images.
    recipe : Recipe
        How the network wants them.
    value_range : (float, float) or None
        The scale of their values.
    device : str
        Where to vary the pixels and run the frozen stages.
    variation : Variation, TransformVariation or None
        How pixels are varied.
    frozen : callable or None
        From a normalised batch to activations; None when nothing is frozen.
    autocast : callable
        Makes the context in which ``frozen`` runs.
    max_bytes : int
        Keep decoded pixels in memory up to this size.
    seed : int
        Draws the variations.
    """

    def __init__(
        self,
        images: ImageRows,
        recipe: Recipe,
        value_range: tuple[float, float] | None,
        device: str,
        *,
        y: Tensor | None = None,
        weight: Tensor | None = None,
        variation: Variation | TransformVariation | None = None,
        frozen: Callable[[Tensor], Tensor] | None = None,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
        max_bytes: int = 0,
        seed: int = 0,
    ):
        super().__init__(len(images), y, weight, seed)
        self._images = images
        self._recipe = recipe
        self._value_range = value_range
        self._device = device
        self._variation = variation
        self._frozen = frozen
        self._autocast = autocast
        size = recipe.channels * recipe.size[0] * recipe.size[1]
        size *= 4 if images.scaled else 1
        self._keeps = size * len(images) <= max_bytes
        self._pixels: dict[int, Tensor] = {}

    def inputs(self, positions: list[int]) -> Tensor:
        """Return the activations of some rows, for new variations of their pixels."""
        batch = self._prepared(positions).to(self._device)
        if self._variation is not None:
            batch = self._variation(as_floats(batch), self.draws(positions))
        batch = self._recipe.normalise(batch)
        if self._frozen is None:
            return batch
        # Not inference_mode: its tensors may not enter a later backward pass.
        with torch.no_grad(), self._autocast():
            return self._frozen(batch).float()

    def _prepared(self, positions: Sequence[int]) -> Tensor:
        """Return prepared pixels, decoded in threads (decoding releases the GIL)."""
        missing = [i for i in positions if i not in self._pixels]
        if missing:
            with ThreadPoolExecutor(max_workers=4) as pool:
                fresh = dict(
                    zip(missing, pool.map(self._prepare, missing), strict=True)
                )
            if self._keeps:
                self._pixels.update(fresh)
        else:
            fresh = {}
        found = [self._pixels[i] if i in self._pixels else fresh[i] for i in positions]
        if len({pixels.dtype for pixels in found}) > 1:
            found = [as_floats(pixels) for pixels in found]
        return torch.stack(found)

    def _prepare(self, i: int) -> Tensor:
        return self._images.prepare(i, self._recipe, self._value_range)


def frozen_stages(network: nn.Module, after: str) -> Callable[[Tensor], Tensor]:
    """Return the function that runs the stages up to and including ``after``."""

    def run(batch: Tensor) -> Tensor:
        return network.run(batch, upto=after)

    return run
