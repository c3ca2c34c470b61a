"""``FedNet``: which activations the trained part is fed with, kept or computed live."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import torch

from sktl.engine import activations
from sktl.exceptions import CacheWarning, UnreadableImageError
from sktl.finetune._activations import (
    Activations,
    KeptActivations,
    LiveActivations,
    frozen_stages,
)
from sktl.finetune._augment import variation_of
from sktl.finetune._distinct import TrainingRows
from sktl.finetune._mixing import check_maps
from sktl.finetune._net import Net
from sktl.finetune._run import Seeds
from sktl.finetune._views import ViewRows
from sktl.images import ImageRows

# Rows to try a head and a loss on: as many as go through the network at once.
_MOST_TRIED = 8


class FedNet(Net):
    """A net that gets the activations at its cut from the engine."""

    def _try_out(self, rows: TrainingRows) -> torch.Tensor:
        """Send one row through everything, to fail before the images are embedded.

        What enters the trained part for it comes back.
        """
        y, weight = self._tensors(rows)
        batches = self.get_iterator(Activations(len(rows), y, weight), training=True)
        if self.max_epochs and not len(batches):
            raise ValueError(
                f"{len(rows)} training rows make no batch: batch_size="
                f"{self.batch_size} and iterator_train__drop_last=True drop them all."
            )
        first = rows.take(np.arange(1))
        try:
            if self.frozen_part_ is None:
                x = self._live(first, None).inputs([0])
            else:
                x = torch.from_numpy(self._activations(first.images))
        except UnreadableImageError:
            self._activations(rows.images, self.embedding_part_)  # names all of them
            raise
        if self.cutmix:
            check_maps(x)
        # Some losses compare the rows of a batch.
        n = min(len(rows), self.batch_size, _MOST_TRIED)
        self._set_training(False)
        step = "head"
        try:
            with torch.no_grad():
                outputs = self.infer(x.expand(n, *x.shape[1:]))
                step = "criterion"
                self.get_loss(outputs, y[:n], training=True)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"{step}={getattr(self, step)!r} does not fit: activations of shape "
                f"{tuple(x.shape[1:])} come in, and {self._n_outputs()} outputs have "
                f"to come out. {type(error).__name__}: {error}"
            ) from error
        return x

    def _data_sets(
        self,
        train: TrainingRows,
        valid: TrainingRows | None,
        seeds: Seeds,
        row_bytes: int,
    ):
        """Return the data sets of activations to train on and to watch."""
        variation = None if self._is_strip(train.images) else variation_of(self.augment)
        rows = [train] if valid is None else [train, valid]
        part = self.frozen_part_
        n_views = (self.n_views or 1) if variation is not None else 1
        live = part is None or (variation is not None and self.n_views is None)
        if not live:
            needed = row_bytes * (
                n_views * len(train) + (0 if valid is None else len(valid))
            )
            if needed > self.max_bytes:
                live = True
                warnings.warn(
                    f"The activations at the cut, after {part.layers[0]!r}, take "
                    f"{needed / 1e6:,.0f} MB, more than max_bytes allows "
                    f"({self.max_bytes / 1e6:,.0f} MB). The frozen stages run again in "
                    "every epoch; raise max_bytes, or unfreeze fewer stages.",
                    CacheWarning,
                    stacklevel=4,
                )
        if live:
            frozen = self._frozen_on_device()
            sets = [self._live(rows[0], frozen, variation, seeds.views)]
            sets += [self._live(part, frozen) for part in rows[1:]]
        else:
            views = [
                ViewRows(train.images, variation, seeds.views, number)
                for number in range(1, n_views)
            ]
            sets = [self._kept([train.images, *views], train, seeds.views)]
            sets += [self._kept([part.images], part) for part in rows[1:]]
        return sets[0], sets[1] if len(sets) > 1 else None

    def _activations(self, images, part=None) -> np.ndarray:
        """Return the values of a frozen part, from the store where it has them."""
        return activations(
            images,
            part or self.frozen_part_,
            device=self.device,
            cache=self.cache,
            verbose=self.verbose,
            label=self.backbone_.name,
        )

    def _kept(self, views: list, rows: TrainingRows, seed: int = 0) -> KeptActivations:
        """Return a data set of activations in memory, on the GPU if there is one."""
        parts = [self._activations(view) for view in views]
        x = torch.from_numpy(np.concatenate(parts) if len(parts) > 1 else parts[0])
        y, weight = self._tensors(rows)
        device = self.device
        return KeptActivations(x.to(device), y, weight, len(views), seed)

    def _live(self, rows: TrainingRows, frozen, variation=None, seed: int = 0):
        """Return a data set whose activations are computed on every visit."""
        y, weight = self._tensors(rows)
        return LiveActivations(
            rows.images,
            self.recipe_,
            self.value_range_,
            self.device,
            y=y,
            weight=weight,
            variation=variation,
            frozen=frozen,
            autocast=self._autocast,
            max_bytes=self.max_bytes,
            seed=seed,
        )

    def _frozen_on_device(self):
        """Return the function of the frozen stages, for batches on the device."""
        if self.cut_.after is None:
            return None
        network, device = self.backbone_.load(), self.device
        if device != "cpu":
            network = copy.deepcopy(network).to(device)
        return frozen_stages(network, self.cut_.after)

    def _tensors(self, rows: TrainingRows):
        """Return targets and weights as tensors; no weights where all are equal."""
        weight = None
        if np.ptp(rows.weight) > 0:
            weight = torch.as_tensor(rows.weight, dtype=torch.float32)
        return torch.as_tensor(rows.y), weight

    def _is_strip(self, images: ImageRows) -> bool:
        """Tell whether rows of a table were read as images one pixel high."""
        # A row of measurements is no picture: flipping it would swap its columns.
        return images.flat and len(images) > 0 and images[0].shape[0] == 1
