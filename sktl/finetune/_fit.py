"""What ``fit`` does, step by step: from images and targets to a trained network."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.utils.validation import _check_sample_weight, check_consistent_length
from skorch import NeuralNet
from skorch.dataset import Dataset as SkorchDataset
from skorch.dataset import unpack_data
from skorch.history import History
from skorch.utils import data_from_dataset
from torch.utils.data import Subset

from sktl.exceptions import UnreadableImageError
from sktl.finetune._activation_sets import (
    Activations,
    ActivationSource,
    DataSets,
    KeptActivations,
    TrainingViews,
    autocast,
)
from sktl.finetune._cut import cut_at
from sktl.finetune._settings import building_parameters, check_settings
from sktl.finetune._training import (
    Mixup,
    Schedule,
    Seeds,
    StopTraining,
    Training,
    n_rising_epochs,
    own_random_state,
)
from sktl.finetune._training_rows import (
    TrainingRows,
    check_weight,
    distinct_rows,
    hold_out,
)
from sktl.images import (
    check_value_range,
    learn_value_range,
    read_images,
    variation_of,
)

# Training that continues keeps the network built from these parameters.
_FIXED = ("backbone", "weights", "head")
# Rows to try a head and a loss on: some losses compare the rows of a batch.
_MOST_TRIED = 8


def fit(net, X, y, sample_weight, groups, classes=None, *, trains=True) -> None:
    """Train a net from scratch, or continue its training.

    Errors are found before images are embedded, and most of them before any image is
    read. Without ``trains``, stop before the first epoch.
    """
    if not net._begun:
        net._forget()
    check_settings(net)
    seeds = Seeds.of(net.random_state)
    with own_random_state(seeds.torch, net.device):
        try:
            rows = _read(net, X, y, sample_weight, groups, classes)
            sets, refit = _prepare(net, rows, y, seeds)
        except BaseException:
            if not net._begun:  # leave nothing that could predict
                net._forget()
            raise
        net._begun = True
        net.module_.facts = net._facts()
        if trains:
            _train(net, X, y, sets, refit, seeds)


def compute_activations(net, X, y) -> None:
    """Do everything that ``fit`` does with an unfitted net before its first epoch.

    What the frozen stages compute is then in the store, for each view too. With early
    stopping, views of the held-out rows are missing: only the refit needs them.
    """
    fit(net, X, y, None, None, trains=False)


def _prepare(net, rows, y, seeds: Seeds):
    """Return the data sets to train on and to watch, and the refit (or None)."""
    images, begins = rows[0], not net._begun
    if begins:
        net._split_seed = seeds.split
        net._find_network(learn_value_range(images, net.value_range))
    else:
        check_value_range(images, net.value_range_)
        _follow_parameters(net)
    train, valid, whole = _divide(net, rows, y)
    if begins:
        net._targets.learn_scale(train)
    for part in (train, valid, whole):
        if part is not None:
            _weigh(net, part)
    if begins:
        NeuralNet.initialize(net)
    source = net._source()
    row_bytes = _check_first_row(net, source, train).nbytes
    is_varied = net.max_epochs and not images.are_strips
    variation = variation_of(net.augment) if is_varied else None
    # A refit trains as the watched run does, so there has to be room for both.
    most = (train, valid) if whole is None else (whole, None)
    views = source.choose_views(variation, net.n_views, seeds.views, *most, row_bytes)
    sets = source.to_train(train, valid, views)
    solves = begins and net.head_init == "probe"
    if solves:
        _solve_head(net, source, train, sets.train)
    if whole is None:
        return sets, None
    return sets, Refit(source, whole, views, solves)


def _read(net, X, y, sample_weight, groups, classes):
    """Return images, targets, weights and groups, checked and of one length."""
    begins = not net._begun
    images = read_images(net, X, reset=begins)
    check_consistent_length(images, y, sample_weight, groups)
    weight = _check_sample_weight(
        sample_weight, np.empty((len(images), 1)), ensure_non_negative=True
    ).astype(np.float64)
    if not weight.any():
        raise ValueError(
            "sample_weight is zero for every row; at least one must be above 0."
        )
    if begins:
        net._targets = net._learn_targets(y, classes)
    target = net._targets.encode(y)
    named = classes is not None or net.classes is not None
    net._targets.check(target, weight, net.class_weight, begins and not named)
    return images, target, weight, None if groups is None else np.asarray(groups)


def _follow_parameters(net) -> None:
    """Apply the parameters set since to a net that continues training."""
    now = building_parameters(net)
    names = now.keys() | net._built.keys()
    changed = {name for name in names if now.get(name) != net._built.get(name)}
    if fixed := sorted(changed.intersection(_FIXED)):
        raise ValueError(
            f"{fixed[0]}={getattr(net, fixed[0])!r} was set after the network was "
            "built. Training that continues (partial_fit, warm_start=True) keeps the "
            "network; call fit with warm_start=False to start over."
        )
    wanted = cut_at(net.unfreeze, net.backbone_).trained
    shut = [name for name in net.cut_.trained if name not in wanted]
    if shut:
        raise ValueError(
            f"unfreeze={net.unfreeze!r} leaves out {', '.join(shut)}, which "
            "training has already changed. When training continues, unfreeze can only "
            "grow; call fit with warm_start=False to start over."
        )
    net._place_cut()
    if "unfreeze" in changed:
        part = net._stages_behind_the_cut(net.module_.stages, net.module_.head)
        part.facts = net.module_.facts
        net.module_ = part.to(net.device)

    def changes(*names: str) -> set[str]:
        return {name for name in changed if name.startswith(names)}

    if changes("criterion", "label_smoothing"):
        net._initialize_criterion()
    if changes("callbacks"):
        net._initialize_callbacks()
    if changes("optimizer", "unfreeze") - {"optimizer__lr"}:
        net._initialize_optimizer()
    elif changes("lr", "optimizer__lr"):  # what the optimizer has learned stays
        (groups,), _ = net.get_params_for_optimizer("optimizer", None)
        for group, new in zip(net.optimizer_.param_groups, groups, strict=True):
            group["lr"] = group["full_lr"] = new["lr"]
    net._built = now


def _divide(net, read, y):
    """Return the rows to train on, those to watch, and those of a refit (or None)."""
    images, target, weight, groups = read
    if net.train_split:
        # What the user holds out stays held out.
        return *_split_by_user(net, read, y), None
    rows = distinct_rows(images, target, weight, groups)
    if not net.early_stopping:
        return rows, None, None
    valid = hold_out(
        rows.image if rows.groups is None else rows.groups,
        net._targets.strata(rows.y),
        net.validation_fraction,
        net._split_seed,
    )
    train = np.setdiff1d(np.arange(len(rows)), valid)
    return rows.take(train), rows.take(valid), rows if net.refit else None


def _split_by_user(net, read, y):
    """Divide the rows of X by ``train_split``, called the way skorch does."""
    images, target, weight, groups = read
    data = SkorchDataset(np.arange(len(images)))
    more = {} if groups is None else {"groups": groups}
    labels = target if hasattr(y, "toarray") else np.asarray(y)
    train, valid = net.train_split(data, labels, **more)
    if valid is None and net.early_stopping:
        raise ValueError(
            "early_stopping=True watches held-out rows, but train_split="
            f"{net.train_split!r} returned none."
        )

    def rows_at(part) -> TrainingRows:
        at = np.array([part[i][0] for i in range(len(part))], dtype=int)
        some = None if groups is None else groups[at]
        return distinct_rows(images.take(at), target[at], weight[at], some)

    train = rows_at(train)
    if valid is None:
        return train, None
    whole = valid
    while isinstance(whole, Subset):
        whole = whole.dataset
    if whole is data:
        return train, rows_at(valid)
    # predefined_split: a data set of the user's own images and targets.
    try:
        X, y = data_from_dataset(valid)
    except AttributeError as error:
        raise ValueError(
            f"train_split returned {type(valid).__name__} as validation data, "
            "from which sktl cannot take the images and targets. Pass "
            "predefined_split(skorch.dataset.Dataset(X_valid, y_valid))."
        ) from error
    images = read_images(net, X, reset=False)
    check_value_range(images, net.value_range_)
    target = net._targets.encode(y)
    return train, distinct_rows(images, target, np.ones(len(target)))


def _weigh(net, rows: TrainingRows) -> None:
    """Bring the weights of rows to mean 1, class weights included."""
    weight = net._targets.weigh(rows, net.class_weight)
    check_weight(weight)
    rows.weight = weight * (len(rows) / weight.sum())


def _check_first_row(net, source: ActivationSource, rows: TrainingRows):
    """Send one row through everything, to fail before all images are embedded.

    Return the input of the trained part for that row.
    """
    blank = Activations(len(rows), rows)
    if net.max_epochs and not len(net.get_iterator(blank, training=True)):
        raise ValueError(
            f"{len(rows)} training rows make no batch: batch_size="
            f"{net.batch_size} and iterator_train__drop_last=True drop them all."
        )
    try:
        x = source.first_row(rows)
    except UnreadableImageError:
        source.embeddings(rows.images)  # names all of them
        raise
    n = min(len(rows), net.batch_size, _MOST_TRIED)
    net._set_training(False)
    step = "head"
    try:
        with torch.no_grad():
            outputs = net.infer(x.expand(n, *x.shape[1:]))
            step = "criterion"
            loss = net._row_losses(outputs, blank.y[:n], training=True)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{step}={getattr(net, step)!r} does not fit: activations of shape "
            f"{tuple(x.shape[1:])} come in, and {net._targets.n_outputs} outputs "
            f"have to come out. {type(error).__name__}: {error}"
        ) from error
    if loss.ndim == 0 and blank.weight is not None:
        raise ValueError(
            f"criterion={net.criterion!r} returns one number for the whole batch, "
            "so rows cannot have different weights (sample_weight, class_weight, "
            "repeated rows). Use a criterion with reduction='none'."
        )
    return x


def _solve_head(net, source: ActivationSource, rows, data_set) -> None:
    """Solve the head on the embeddings of rows, before anything is trained."""
    embeddings = _embeddings(net, source, rows, data_set)
    net._targets.solve_head(net.module_.head, embeddings, rows)


@torch.no_grad()
def _embeddings(net, source: ActivationSource, train, train_set) -> np.ndarray:
    """Return the embeddings of the training images, before anything is trained."""
    if not isinstance(train_set, KeptActivations):
        return source.embeddings(train.images).astype(np.float64)
    net._set_training(False)
    parts = []
    for batch in train_set.x[: len(train)].split(max(net.batch_size, 32)):
        with autocast(net.device, source.whole.precision):
            parts.append(net.module_.embed(batch).float().cpu())
    return torch.cat(parts).numpy().astype(np.float64)


@dataclass
class Refit:
    """A second training on all rows, the held-out ones included.

    It begins where the first training began and ends with the best epoch of that.
    """

    source: ActivationSource
    rows: TrainingRows
    views: TrainingViews
    solves: bool  # whether the head starts as a probe
    state: tuple = ()
    n_before: int = 0

    def begin(self, net) -> None:
        """Keep the state of the net and its optimizer before the first step."""
        self.n_before = len(net.history)
        self.solves = self.solves and not self.n_before  # else it loaded a checkpoint
        states = net.module_.state_dict(), net.optimizer_.state_dict()
        self.state = copy.deepcopy(states)

    def run(self, net, seeds: Seeds) -> None:
        """Train the net again; if that fails, it keeps the best epoch."""
        best = copy.deepcopy(net.module_.state_dict())
        watched, n_epochs = net.history, net.best_epoch_ - self.n_before
        # Nothing is trained on the views of an untrained net.
        views = self.views if n_epochs else replace(self.views, variation=None)
        try:
            net.module_.load_state_dict(self.state[0])
            net.optimizer_.load_state_dict(self.state[1])
            if not (n_epochs or self.solves):
                return
            sets = self.source.to_train(self.rows, None, views)
            if self.solves:
                _solve_head(net, self.source, self.rows, sets.train)
            if n_epochs:
                net.history_ = History(watched[: self.n_before])
                training = _begin_training(net, sets.train, seeds)
                training.is_refit = True
                average = training.average_weights(net)
                with suppress(StopTraining):
                    net.fit_loop(sets, epochs=n_epochs)
                best = average.module.state_dict()
                _end_training(net)
                net.module_.load_state_dict(best)
        except BaseException:
            _end_training(net)
            net.module_.load_state_dict(best)
            raise
        finally:
            net.history_ = watched


def _train(net, X, y, sets: DataSets, refit: Refit | None, seeds: Seeds) -> None:
    """Train, and leave a usable network however training ends."""
    try:
        try:
            net.notify("on_train_begin", X=X, y=y)
            # After the callbacks: skorch's LoadInitState may have changed the net.
            if refit is not None:
                refit.begin(net)
            _begin_training(net, sets.train, seeds)
            if sets.valid is not None:
                _begin_to_watch(net, sets.valid)
            net.fit_loop(sets, epochs=net.max_epochs)
        except StopTraining:
            pass
        # Not KeyboardInterrupt: a search must not mistake an interrupted net for a
        # trained one.
        finally:
            best = net._training and net._training.best
            _end_training(net)
            if net.history and "event_lr" not in net.history[-1]:
                del net.history[-1]  # the epoch in which training was stopped
            net.best_epoch_ = len(net.history)
            if best:
                best.restore(net)
                net.best_epoch_ = best.best_epoch_
        if refit is not None and refit.state:
            sets.train = sets.valid = None  # make room for all rows
            refit.run(net, seeds)
    finally:
        net.notify("on_train_end", X=X, y=y)


def _begin_training(net, data_set, seeds: Seeds) -> Training:
    """Set the rates for all epochs of a run on a data set."""
    n_steps = net.max_epochs * len(net.get_iterator(data_set, training=True))
    mixup = Mixup(net.mixup, seeds.mixing) if net.mixup else None
    schedule = Schedule(net.optimizer_, net.schedule, net.warmup, n_steps)
    net._training = Training(seeds.order, mixup, schedule)
    return net._training


def _end_training(net) -> None:
    """Leave the net as it is between two runs."""
    if net._training is not None:
        net._training.resume(net)
        net._training.schedule.end()
    if net.gradual:  # otherwise only callbacks freeze anything, such as a Freezer
        net.module_.open_stages(net.cut_.trained)
    net.module_.eval()
    vars(net).pop("_training", None)


def _begin_to_watch(net, valid_set: Activations) -> None:
    """Measure the net before its first step, and keep it as the best so far."""
    sums: dict[str, float] = {}
    for batch in net.get_iterator(valid_set, training=False):
        step, n = net.validation_step(batch), len(unpack_data(batch)[1])
        for name, value in (("loss", step["loss"].item()), ("acc", step.get("acc"))):
            if value is not None:
                sums[f"valid_{name}"] = sums.get(f"valid_{name}", 0.0) + n * value
    measures = {name: total / len(valid_set) for name, total in sums.items()}
    if not net.history:
        net.epoch_zero_ = measures
    if net.early_stopping:
        net._training.average_weights(net)
        best = net._training.best = dict(net.callbacks_)["best_epoch"]
        n_stages = len(net.cut_.trained) if net.gradual else 0
        n_rising = n_rising_epochs(net.warmup, n_stages, net.max_epochs)
        best.begin(net, measures["valid_loss"], n_rising)
