"""``FineTuned``: what fitting and predicting are, for both estimators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)
from skorch.dataset import Dataset as SkorchDataset
from skorch.dataset import unpack_data
from skorch.helper import SliceDataset
from skorch.utils import data_from_dataset, is_dataset
from torch.utils.data import Dataset, Subset

from sktl.exceptions import ImageInputError
from sktl.finetune._activations import (
    Activations,
    BlockActivations,
    KeptActivations,
    LiveActivations,
    are_activations,
)
from sktl.finetune._best_epoch import StopTraining
from sktl.finetune._distinct import (
    TrainingRows,
    check_weight,
    distinct_rows,
    rows_in_order,
)
from sktl.finetune._feed import FedNet
from sktl.finetune._find_rate import range_test
from sktl.finetune._inner_split import inner_split
from sktl.finetune._mixing import Mixing
from sktl.finetune._parameters import SAMPLERS
from sktl.finetune._run import Seeds, TrainingRun, own_random_state
from sktl.finetune._settings import check_settings
from sktl.images import ImageRows, check_value_range, is_flat, learn_value_range


class FineTuned(FedNet):
    """Fit and predict on images, whatever form they come in."""

    def _train(self, X, y, sample_weight=None, groups=None, *, anew: bool):
        """Train from scratch if ``anew``, otherwise from where the net is."""
        check_settings(self)
        if anew:
            self._discard()
        # A net that is merely initialised, or whose first fit failed, has yet to learn
        # what training begins with.
        fresh = not self._begun
        if fresh and self.initialized_ and self._changed_parameters():
            self._discard()
        images = self._images_of(X, reset=fresh)
        check_consistent_length(images, y, sample_weight, groups)
        weight = self._read_weight(sample_weight, len(images))
        target = self._read_target(y, reset=fresh)
        self._check_target(target, weight)
        groups = None if groups is None else np.asarray(groups)
        seeds = Seeds.of(self.random_state)
        if fresh:
            self.value_range_ = learn_value_range(images, self.value_range)
            self._split_seed = seeds.split
        else:
            check_value_range(images, self.value_range_)
        if self.initialized_:
            self._follow_parameters()
        else:
            self._settle()
        train, valid = self._divide(images, target, weight, groups, y)
        if fresh:
            self._learn_target(train)
        self._weigh(train)
        if valid is not None:
            self._weigh(valid)
        with own_random_state(seeds.torch, self.device):
            try:
                if fresh:
                    self._build()
                self._check_criterion(train)
                first = self._try_out(train)
                train_set, valid_set = self._data_sets(
                    train, valid, seeds, first.nbytes
                )
                if fresh and self.head_init == "probe":
                    self._solve_head(train, train_set)
                self._begun = True
            except BaseException:
                if not self._begun:
                    self._discard()
                raise
            self.module_.facts = self._facts()
            self._run_epochs(X, y, train_set, valid_set, seeds)
        return self

    def _discard(self) -> None:
        """Drop the network: a fit that fails leaves nothing that could predict."""
        self._forget()
        self.initialized_ = False
        for name in ("module_", "optimizer_"):
            vars(self).pop(name, None)

    def _build(self) -> None:
        """Initialise the net, unless the user has and it suits the targets."""
        if self.initialized_ and self._head_outputs == self._n_outputs():
            self._adopt_targets()
        else:
            self._initialize_settled()

    def _run_epochs(self, X, y, train_set, valid_set, seeds: Seeds):
        """Train, and leave a usable network however training ends."""
        layout = self.backbone_.load().layout if self.cutmix and self.cut_.after else ""
        mixing = None
        if self.mixup or self.cutmix:
            mixing = Mixing(self.mixup, self.cutmix, layout == "nhwc", seeds.mixing)
        n_batches = len(self.get_iterator(train_set, training=True))
        run = TrainingRun(
            n_batches * self.max_epochs,
            self.schedule,
            self.warmup,
            seeds.order,
            mixing,
        )
        best = None
        self._run = run
        try:
            if not hasattr(self, "lr_"):
                self._choose_rate(train_set)
            try:
                self.notify("on_train_begin", X=X, y=y)
                # After the callbacks: skorch's LoadInitState may have changed the net.
                run.begin(self.optimizer_)
                if valid_set is not None:
                    best = self._begin_to_watch(valid_set)
                self.fit_loop(_Divided(train_set, valid_set), epochs=self.max_epochs)
            except StopTraining:
                pass
            finally:
                # Also after Ctrl-C, which goes on to whoever called: a search must not
                # take a net that was interrupted for one that was trained.
                run.end(self.optimizer_)
                self._drop_partial_epoch()
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

    def _begin_to_watch(self, valid_set):
        """Measure the net before its first step; return what keeps the best epoch."""
        measures = self._evaluate(valid_set)
        if not self.history:
            self.epoch_zero_ = measures
        if not self.early_stopping:
            return None
        best = dict(self.callbacks_)["best_epoch"]
        best.begin(self, self.validation_score(measures))
        return best

    def _drop_partial_epoch(self) -> None:
        """Take the epoch in which training was stopped out of the history."""
        if self.history and "event_lr" not in self.history[-1]:
            del self.history[-1]

    def _choose_rate(self, train_set) -> None:
        """Settle the learning rate; with ``lr="find"`` by a range test."""
        if self.lr != "find":
            self.lr_ = vars(self).get("optimizer__lr", self.lr)
            self._set_rates()
            return
        batches = self.get_iterator(train_set, training=True)
        self.lr_, self.lr_curve_ = range_test(self, batches)
        self._initialize_optimizer()
        if self.verbose:
            print(f"lr='find': {self.lr_:.2g}")

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

    def _check_target(self, target: np.ndarray, weight: np.ndarray) -> None:
        """Raise on targets that cannot be learned."""

    def _learn_target(self, rows: TrainingRows) -> None:
        """Learn what building the head needs to know of the targets."""

    def _adopt_targets(self) -> None:
        """Suit a net to its targets that was built before they were known."""

    def _facts(self) -> dict:
        """Return what predictions need to know, beside the weights, as plain values."""
        value_range = self.value_range_
        return {
            "value_range": None if value_range is None else list(value_range),
            "split_seed": self._split_seed,
        }

    def _adopt(self, facts: Mapping) -> None:
        """Take over what loaded weights say of the data they were trained on."""
        value_range = facts["value_range"]
        self.value_range_ = None if value_range is None else tuple(value_range)
        self._split_seed = facts["split_seed"]
        self.embedding_part_ = replace(
            self.embedding_part_, value_range=self.value_range_
        )
        self.frozen_part_ = self._part_before_the_cut()

    def _weigh(self, rows: TrainingRows) -> None:
        """Bring the weights of a part of the rows to mean 1."""
        check_weight(rows.weight)
        rows.weight = rows.weight * (len(rows) / rows.weight.sum())

    def _divide(self, images: ImageRows, target, weight, groups, y):
        """Return the rows to train on and those to watch (or None)."""
        gather = rows_in_order if self._order_counts() else distinct_rows
        if self.train_split:
            return self._divide_as_told(gather, images, target, weight, groups, y)
        rows = gather(images, target, weight, groups)
        if not self.early_stopping:
            return rows, None
        counted = np.flatnonzero(rows.weight > 0)
        some = rows.take(counted)
        _, valid = inner_split(
            some.y,
            some.groups,
            self.validation_fraction,
            self._stratifies(some.y),
            self._split_seed,
            some.same_image,
        )
        valid = counted[valid]
        train = np.setdiff1d(np.arange(len(rows)), valid)
        return rows.take(train), rows.take(valid)

    def _order_counts(self) -> bool:
        """Tell whether the user's own iterator speaks of positions in X."""
        kwargs = self.get_params_for("iterator_train")
        return bool(SAMPLERS & set(kwargs)) or kwargs.get("shuffle") is False

    def _divide_as_told(self, gather, images, target, weight, groups, y):
        """Split the rows of X as ``train_split`` says, the way skorch calls it."""
        data = _Positions(len(images))
        more = {} if groups is None else {"groups": groups}
        labels = target if hasattr(y, "toarray") else np.asarray(y)
        train, valid = self.train_split(data, labels, **more)
        if valid is None and self.early_stopping:
            raise ValueError(
                "early_stopping=True watches a validation part, and train_split="
                f"{self.train_split!r} returned none."
            )

        def rows_at(part, gather):
            at = np.array([part[i] for i in range(len(part))], dtype=int)
            return gather(
                images.take(at),
                target[at],
                weight[at],
                None if groups is None else groups[at],
            )

        train = rows_at(train, gather)
        if valid is None:
            return train, None
        whole = valid
        while isinstance(whole, Subset):
            whole = whole.dataset
        if whole is data:
            return train, rows_at(valid, distinct_rows)
        # predefined_split: a data set of the user's own images and targets.
        try:
            X, y = data_from_dataset(valid)
        except AttributeError as error:
            raise ValueError(
                f"train_split returned {type(valid).__name__} as validation data, "
                "whose images and targets cannot be told apart. Pass "
                "predefined_split(skorch.dataset.Dataset(X_valid, y_valid))."
            ) from error
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
        X : array-like of images, skorch.dataset.Dataset or Activations
            Activations come back as they are.

        y : Ignored
            Not used.

        Returns
        -------
        dataset : torch.utils.data.Dataset
            Activations at the cut, computed block by block.
        """
        if are_activations(X):
            return X.dataset if isinstance(X, SliceDataset) else X
        if isinstance(X, SkorchDataset):
            X = X.X
        elif is_dataset(X) and not isinstance(X, SliceDataset):
            raise ImageInputError(
                f"X is a {type(X).__name__} of torch, and images are wanted: arrays, "
                "paths, encoded bytes or PIL images. "
                "skorch.helper.SliceDataset(dataset, idx=0) makes a sequence of the "
                "images of a data set."
            )
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
        return torch.cat([part.detach() for part in self.forward_iter(X)]).numpy()

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
        rows = [vars(self).get("epoch_zero_", {}), *history]
        # In the order of the last row: callbacks may have come in between.
        names = [
            name
            for name in dict.fromkeys(name for row in reversed(rows) for name in row)
            if name not in ("batches", "epoch")
            and not name.endswith(("_batch_count", "_best"))
        ]
        columns = {
            name: np.array([row.get(name, np.nan) for row in rows]) for name in names
        }
        return {"epoch": np.arange(len(history) + 1), **columns}

    def __sklearn_is_fitted__(self):
        return bool(self.initialized_)

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
