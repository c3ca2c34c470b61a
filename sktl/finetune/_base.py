"""``FineTuned``: what fitting and predicting are, for both estimators."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)
from skorch.callbacks import LRScheduler
from skorch.dataset import unpack_data
from skorch.helper import SliceDataset
from skorch.utils import data_from_dataset, is_dataset
from torch.utils.data import Dataset, Subset

from sktl.finetune._activations import (
    Activations,
    BlockActivations,
    KeptActivations,
    LiveActivations,
)
from sktl.finetune._augment import variation_of
from sktl.finetune._best_epoch import StopTraining
from sktl.finetune._distinct import TrainingRows, distinct_rows
from sktl.finetune._feed import FedNet
from sktl.finetune._find_rate import range_test
from sktl.finetune._inner_split import inner_split
from sktl.finetune._mixing import Mixing
from sktl.finetune._run import Seeds, TrainingRun, own_random_state
from sktl.images import ImageRows, check_value_range, is_flat, learn_value_range


class FineTuned(FedNet):
    """Fit and predict on images, whatever form they come in."""

    def _train(self, X, y, sample_weight=None, groups=None, *, fresh: bool):
        """Fit from scratch if ``fresh``, otherwise go on from where the net is."""
        self._check_settings()
        images = self._images_of(X, reset=fresh)
        target = self._read_target(y, reset=fresh)
        check_consistent_length(images, target, sample_weight, groups)
        weight = self._read_weight(sample_weight, len(images))
        if fresh:
            self._forget()
            self.value_range_ = learn_value_range(images, self.value_range)
        else:
            check_value_range(images, self.value_range_)
        groups = None if groups is None else np.asarray(groups)
        rows = distinct_rows(images, target, weight, groups)
        self._learn_target(rows, reset=fresh)
        seeds = Seeds.of(self.random_state)
        with own_random_state(seeds.torch, self.device):
            train, valid = self._divide(rows, seeds.split)
            self._weigh(train)
            if valid is not None:
                self._weigh(valid)
            if fresh:
                self.initialize()
            elif not hasattr(self, "optimizer_"):
                self._initialize_optimizer()
            self._check_criterion(train)
            train_set, valid_set = self._data_sets(train, valid, seeds)
            if fresh and self.head_init == "probe":
                self._solve_head(train, train_set)
            self._run_epochs(X, y, train_set, valid_set, seeds, fresh=fresh)
        return self

    def _forget(self) -> None:
        """Drop what an earlier fit has learned."""
        for name in ("lr_", "lr_curve_", "best_epoch_", "epoch_zero_", "optimizer_"):
            vars(self).pop(name, None)

    def _run_epochs(self, X, y, train_set, valid_set, seeds: Seeds, *, fresh: bool):
        """Train, and leave a usable network however training ends."""
        layout = self.backbone_.load().layout if self.cutmix and self.cut_.after else ""
        mixing = None
        if self.mixup or self.cutmix:
            mixing = Mixing(self.mixup, self.cutmix, layout == "nhwc", seeds.mixing)
        n_batches = len(self.get_iterator(train_set, training=True))
        self._run = TrainingRun(
            n_batches * self.max_epochs,
            self.schedule,
            self.warmup,
            seeds.order,
            mixing,
        )
        try:
            if fresh:
                self._choose_rate(train_set)
            self._run.begin(self.optimizer_)
            self.notify("on_train_begin", X=X, y=y)
            # After the callbacks: skorch's LoadInitState may have changed the network.
            best = None
            if valid_set is not None:
                self.epoch_zero_ = self._evaluate(valid_set)
                best = dict(self.callbacks_).get("best_epoch")
            if best is not None:
                best.begin(self, self.validation_score(self.epoch_zero_))
            try:
                self.fit_loop(_Divided(train_set, valid_set), epochs=self.max_epochs)
            except StopTraining:
                pass
            finally:
                # Also after Ctrl-C, which goes on to whoever called: a search must not
                # take a net that was interrupted for one that was trained.
                self._run.end(self.optimizer_)
                self.module_.open_stages(self.cut_.trained)
                if best is not None:
                    best.restore(self)
                    self.best_epoch_ = best.best_epoch_
                else:
                    self.best_epoch_ = len(self.history)
                self.module_.eval()
                self.notify("on_train_end", X=X, y=y)
        finally:
            vars(self).pop("_run", None)

    def _choose_rate(self, train_set) -> None:
        """Settle the learning rate; with ``lr="find"`` by a range test."""
        if self.lr != "find":
            self.lr_ = self.lr
            return
        batches = self.get_iterator(train_set, training=True)
        self.lr_, self.lr_curve_ = range_test(self, batches)
        self._initialize_optimizer()
        if self.verbose:
            print(f"lr='find': {self.lr_:.2g}")

    def _check_settings(self) -> None:
        """Raise on parameters that contradict one another."""
        if (
            self.early_stopping
            and not self.train_split
            and not self.validation_fraction
        ):
            raise ValueError(
                "early_stopping=True watches a validation part, and "
                "validation_fraction=0 with train_split=None leaves none. Set "
                "validation_fraction above 0, or pass train_split."
            )
        if self.early_stopping and isinstance(self.callbacks, str):
            raise ValueError(
                f"early_stopping=True works through callbacks, and "
                f"callbacks={self.callbacks!r} turns them off."
            )
        scheduler = any(
            isinstance(part, LRScheduler) or part is LRScheduler
            for item in self.callbacks or []
            for part in (item if isinstance(item, tuple | list) else (item,))
        )
        if scheduler and (self.schedule != "constant" or self.warmup):
            raise ValueError(
                f"The LRScheduler among the callbacks and schedule={self.schedule!r}, "
                f"warmup={self.warmup!r} would both set the learning rates. Pass "
                "schedule='constant', warmup=0, or drop the callback."
            )
        if self.head_init == "probe" and self.head != "linear":
            raise ValueError(
                f"head_init='probe' solves a linear head, and head={self.head!r}. Pass "
                "head_init='random' with a head of your own."
            )
        variation_of(self.augment)

    def _check_criterion(self, rows: TrainingRows) -> None:
        """Raise if rows have weights that the loss cannot take into account."""
        weighted = np.ptp(rows.weight) > 0
        if weighted and getattr(self.criterion_, "reduction", "mean") != "none":
            raise ValueError(
                f"criterion={self.criterion!r} returns one number for the whole batch, "
                "so rows cannot have different weights (sample_weight, class_weight, "
                "repeated rows). Use a criterion with reduction='none'."
            )

    # ----- what the user holds

    def _images_of(self, X, *, reset: bool) -> ImageRows:
        """Read X as images; rows of a table also go through scikit-learn's checks."""
        if is_flat(X):
            X = validate_data(self, X, reset=reset, dtype="numeric")
        elif hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
        elif reset:
            for name in ("n_features_in_", "feature_names_in_"):
                vars(self).pop(name, None)
        return ImageRows.of(X, image_shape=self.image_shape)

    def _read_weight(self, sample_weight, n: int) -> np.ndarray:
        """Return one weight for each row."""
        weight = _check_sample_weight(
            sample_weight, np.empty((n, 1)), ensure_non_negative=True
        )
        if not weight.any():
            raise ValueError(
                "sample_weight is zero for every row; at least one must be above 0."
            )
        return weight.astype(np.float64)

    def _read_target(self, y, *, reset: bool) -> np.ndarray:
        """Return y as class numbers, indicators or floats."""
        raise NotImplementedError

    def _learn_target(self, rows: TrainingRows, *, reset: bool) -> None:
        """Learn what building the head needs to know of the targets."""

    def _weigh(self, rows: TrainingRows) -> None:
        """Bring the weights of a part of the rows to mean 1."""
        rows.weight = rows.weight * (len(rows) / rows.weight.sum())

    def _divide(self, rows: TrainingRows, seed: int):
        """Return the rows to train on and those to watch (or None)."""
        if self.train_split:
            return self._divide_as_told(rows)
        if not self.early_stopping:
            return rows, None
        train, valid = inner_split(
            rows.y,
            rows.groups,
            self.validation_fraction,
            self._stratifies(rows.y),
            seed,
        )
        return rows.take(np.sort(train)), rows.take(np.sort(valid))

    def _divide_as_told(self, rows: TrainingRows):
        """Split as ``train_split`` says, the way skorch calls it."""
        data = _Positions(len(rows))
        more = {} if rows.groups is None else {"groups": rows.groups}
        train, valid = self.train_split(data, rows.y, **more)
        train = rows if train is data else rows.take(np.asarray(train.indices))
        if valid is None:
            return train, None
        if isinstance(valid, Subset) and valid.dataset is data:
            return train, rows.take(np.asarray(valid.indices))
        # predefined_split: a data set of the user's own images and targets.
        X, y = data_from_dataset(valid)
        images = self._images_of(X, reset=False)
        check_value_range(images, self.value_range_)
        target = self._read_target(y, reset=False)
        return train, distinct_rows(images, target, np.ones(len(target)))

    def _stratifies(self, y: np.ndarray) -> bool:
        return False

    # ----- before the first step

    def _solve_head(self, train: TrainingRows, train_set: Activations) -> None:
        """Start the head from the solution on the frozen embeddings."""
        if isinstance(train_set, KeptActivations):
            embeddings = self._embed(train_set.x[: len(train)])
        else:
            embeddings = self._activations(train.images, self.embedding_part_)
        self._fill_head(embeddings.astype(np.float64), train)

    def _fill_head(self, embeddings: np.ndarray, train: TrainingRows) -> None:
        raise NotImplementedError

    @torch.no_grad()
    def _embed(self, x: torch.Tensor) -> np.ndarray:
        """Return the embeddings of activations, before anything is trained."""
        self._set_training(False)
        parts = []
        for batch in x.split(max(self.batch_size, 32)):
            with self._autocast():
                parts.append(self.module_.embed(batch).float().cpu())
        return torch.cat(parts).numpy()

    def _evaluate(self, valid_set: Activations) -> dict[str, float]:
        """Return the validation measures of the net as it is."""
        sums: dict[str, float] = {}
        n = 0
        for batch in self.get_iterator(valid_set, training=False):
            step = self.validation_step(batch)
            size = len(unpack_data(batch)[1])
            n += size
            for name, value in self._measures(step).items():
                sums[name] = sums.get(name, 0.0) + size * value
        return {name: total / n for name, total in sums.items()}

    def _measures(self, step: dict) -> dict[str, float]:
        """Return what is recorded of a validation batch."""
        return {"valid_loss": step["loss"].item()}

    def validation_score(self, measures) -> tuple[float, ...]:
        """Return what early stopping compares; larger is better.

        Parameters
        ----------
        measures : dict
            The measures of an epoch, as the history has them.

        Returns
        -------
        score : tuple of float
            Compared from left to right.
        """
        return (-measures["valid_loss"],)

    # ----- predicting, and the data hooks of skorch

    def get_dataset(self, X, y=None):
        """Return a data set of activations for images (skorch's hook).

        Parameters
        ----------
        X : array-like of images, or Dataset
            A data set comes back as it is.

        y : Ignored
            Not used.

        Returns
        -------
        dataset : torch.utils.data.Dataset
            Activations at the cut, computed block by block.
        """
        if is_dataset(X):
            return X
        images = self._images_of(X, reset=False)
        check_value_range(images, self.value_range_)
        if self.frozen_part_ is None:
            return LiveActivations(images, self.recipe_, self.value_range_, self.device)
        return BlockActivations(
            lambda rows: self._activations(images.take(list(rows))), len(images)
        )

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return the two data sets that were made before the loop (skorch's hook)."""
        return X.train, X.valid

    def check_data(self, X, y=None):
        """Do nothing: everything was checked before (skorch's hook)."""

    def _outputs(self, X) -> np.ndarray:
        """Return what the network says of images: logits or targets."""
        check_is_fitted(self)
        if isinstance(X, SliceDataset):
            X = X.dataset
        return torch.cat(list(self.forward_iter(X))).numpy()

    @property
    def n_iter_(self) -> int:
        """Number of epochs trained."""
        if not self.initialized_:
            raise AttributeError(f"{type(self).__name__} is not fitted")
        return len(self.history)

    @property
    def epochs_(self) -> dict[str, np.ndarray]:
        """One array for each measure, one entry for each epoch, epoch 0 first.

        Epoch 0 is the net before its first step; only validation measures it.
        ``pandas.DataFrame(model.epochs_)`` is the table of the training.
        """
        if not self.initialized_:
            raise AttributeError(f"{type(self).__name__} is not fitted")
        history = list(self.history)
        names = [
            name
            for name in (
                history[0] if history else self.__dict__.get("epoch_zero_", {})
            )
            if name not in ("batches", "epoch")
            and not name.endswith(("_batch_count", "_best"))
        ]
        zero = vars(self).get("epoch_zero_", {})
        columns = {
            name: np.array([zero.get(name, np.nan), *(row[name] for row in history)])
            for name in names
        }
        return {"epoch": np.arange(len(history) + 1), **columns}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags


class _Divided:
    """Two data sets on their way through skorch's loop."""

    def __init__(self, train, valid):
        self.train = train
        self.valid = valid


class _Positions(Dataset):
    """Row numbers, for a ``train_split`` to divide."""

    def __init__(self, n: int):
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, position):
        return position
