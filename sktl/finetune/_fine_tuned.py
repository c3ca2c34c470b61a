"""``FineTuned``: fitting and predicting, for both estimators."""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import (
    check_is_fitted,
)
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, PassthroughScoring
from skorch.dataset import Dataset as SkorchDataset
from skorch.dataset import unpack_data
from skorch.exceptions import DeviceWarning
from skorch.helper import SliceDataset
from skorch.history import History
from skorch.utils import is_dataset, to_device
from torch import nn
from torch.utils.data import DataLoader

from sktl.backbones import resolve
from sktl.engine import FrozenPart, resolve_device, resolve_engine
from sktl.exceptions import ImageInputError
from sktl.finetune._activation_sets import (
    ActivationSource,
    are_activations,
    autocast,
    whole_batch,
)
from sktl.finetune._callbacks import BestEpoch, QuietLog, is_deliberate
from sktl.finetune._cut import cut_at
from sktl.finetune._fit import fit
from sktl.finetune._settings import (
    CONSTRAINTS,
    EXPERT_CONSTRAINTS,
    building_parameters,
    check_name,
)
from sktl.finetune._targets import Labels, Targets
from sktl.finetune._trained_part import TrainedPart, facts_in, make_head
from sktl.finetune._training import (
    StopTraining,
    Training,
    as_columns,
    opening_epochs,
    restore_rates,
)
from sktl.images import (
    check_value_range,
    read_images,
)


class FineTuned(NeuralNet):
    """A skorch net that takes images and trains what lies behind the cut of a network.

    It has a cut, a source of activations, targets and, while it trains, a schedule;
    each is a separate object. Subclasses provide the hooks that depend on the kind of
    targets:

    - ``_learn_targets(y, classes)``: the targets that y holds;
    - ``_expected_targets()``: those to build a net for before y is known;
    - ``_restore_targets(facts)``: those that were saved.
    """

    _parameter_constraints: dict = {**CONSTRAINTS, **EXPERT_CONSTRAINTS}

    # skorch sets these on the instance in __init__, where scikit-learn's checks allow
    # only parameters. As class attributes they describe an unfitted net just as well.
    history_ = None
    initialized_ = False
    virtual_params_: dict = {}
    # Parts of skorch that make no sense here: the module is built from the backbone.
    compile = False
    dataset = None
    # skorch's own parameters, and those that only one of the estimators has.
    optimizer = torch.optim.AdamW
    criterion = None
    iterator_train = DataLoader
    iterator_valid = DataLoader
    train_split = None
    callbacks = None
    predict_nonlinearity = "auto"
    use_caching = "auto"
    torch_load_kwargs = None
    classes = None
    class_weight = None
    label_smoothing = 0.0

    value_range_: tuple[float, float] | None
    _targets: Targets
    # Whether training has begun: the net can predict, and its training can continue.
    _begun = False
    _training: Training | Any = None

    def __init__(self, backbone, **params):
        self.__dict__.update(backbone=backbone, **params)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, groups=None):
        """Train the head and the unfrozen stages on images.

        Parameters
        ----------
        X : array-like of images
            Arrays, paths, encoded bytes, PIL images or flattened rows.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of any kind, or an indicator matrix if an image may have several;
            for a regressor, one or more numbers for each image.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images. Weight 2 is the same as the image occurring twice.

        groups : array-like of shape (n_samples,), default=None
            Images of one group stay on one side of the inner split.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """
        if not self.warm_start:
            self._forget()
        fit(self, X, y, sample_weight, groups)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, groups=None):
        """Continue training for ``max_epochs`` more epochs.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in ``fit``.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """
        fit(self, X, y, sample_weight, groups)
        return self

    def _forget(self) -> None:
        """Drop everything that was learned."""
        for name in list(vars(self)):
            if name in _LEARNED or (name[0] != "_" and name[-1] == "_"):
                del self.__dict__[name]

    def _learn_targets(self, y, classes) -> Targets:
        raise NotImplementedError

    def _expected_targets(self) -> Targets:
        raise NotImplementedError

    def _restore_targets(self, facts: Mapping) -> Targets:
        raise NotImplementedError

    def _find_network(self, value_range) -> None:
        """Find the network and its cut, for pixels in this range."""
        self.value_range_ = value_range
        self.backbone_ = resolve(self.backbone, self.weights, self.random_state)
        self._place_cut()

    def _place_cut(self) -> None:
        """Work out what is frozen and what is trained."""
        engine, precision = resolve_engine("auto", self.device, self.precision)
        info = self.backbone_.info
        self.cut_ = cut_at(self.unfreeze, self.backbone_)
        self.embedding_part_ = FrozenPart(
            backbone=self.backbone_,
            layers=(info.stages[-1],),
            pool="avg",
            recipe=info.recipe.at(self.image_size),
            value_range=self.value_range_,
            precision=precision,
            engine=engine,
        )

    def _source(self) -> ActivationSource:
        """Return where activations come from."""
        return ActivationSource(
            self.embedding_part_,
            self.cut_,
            self.device,
            self.cache,
            self.max_bytes,
            self.verbose,
        )

    def _facts(self) -> dict:
        """Return what predictions need, besides the weights, as plain values."""
        value_range = self.value_range_
        return {
            "value_range": None if value_range is None else list(value_range),
            "split_seed": self._split_seed,
            **self._targets.facts(),
        }

    def _adopt(self, facts: Mapping) -> None:
        """Adopt what saved weights say about the data they were trained on."""
        targets = self._restore_targets(facts)
        if self._begun:
            self._targets.check_same(targets)
        kind_changes = targets.several != self._targets.several
        self._targets, self._split_seed = targets, facts["split_seed"]
        value_range = facts["value_range"]
        self.value_range_ = None if value_range is None else tuple(value_range)
        self.embedding_part_ = replace(
            self.embedding_part_, value_range=self.value_range_
        )
        if kind_changes:
            self._initialize_criterion()
        self._begun = True

    def initialize(self):
        """Build everything, untrained, as skorch does; ``fit`` does so by itself.

        Call it before ``load_params``. The net itself is returned.
        """
        self._forget()
        return self._build(self._expected_targets(), self.value_range)

    def _build(self, targets: Targets, value_range) -> FineTuned:
        """Build the net for targets and pixels that are known."""
        self._targets = targets
        self._find_network(value_range)
        return super().initialize()

    def _restore(self, facts: Mapping, tensors: Mapping) -> None:
        """Become the net that was saved; ``facts`` fill in what the weights lack."""
        facts = {**facts, **facts_in(tensors)}
        with torch.random.fork_rng(devices=[]):  # the head is drawn, then filled in
            self._build(self._restore_targets(facts), facts["value_range"])
        self.module_.load_state_dict(tensors)
        self.module_.eval()
        self._adopt(facts)
        self.module_.facts = self._facts()

    def initialize_module(self):
        """Build the stages behind the cut and the head (skorch's hook)."""
        targets = self._targets
        head = make_head(self.head, self.backbone_.info.n_features, targets.n_outputs)
        self.module_ = self._stages_behind_the_cut(
            {}, targets.finish_head(head, self.device)
        )
        self._built = building_parameters(self)
        return self

    def _stages_behind_the_cut(self, known: Mapping, head: nn.Module) -> TrainedPart:
        """Return the trained part; ``known`` holds the stages that exist already."""
        stages = {
            name: known[name]
            if name in known
            else copy.deepcopy(self.backbone_.load().stages[name])
            for name in self.cut_.behind
        }
        # From the first step, batch statistics would change the embeddings that the
        # probe was solved on; random weights have no statistics worth keeping.
        keep_statistics = self.weights is not None
        return TrainedPart(stages, self.cut_.trained, head, keep_statistics)

    def initialize_criterion(self):
        """Build the loss, one value per row so that weights apply (skorch's hook)."""
        criterion = self.criterion or self._targets.default_criterion
        kwargs = self.get_params_for("criterion")
        if isinstance(criterion, type):
            accepted = inspect.signature(criterion).parameters
            if "reduction" in accepted:
                kwargs.setdefault("reduction", "none")
            if self.label_smoothing and "label_smoothing" in accepted:
                kwargs.setdefault("label_smoothing", self.label_smoothing)
            elif self.label_smoothing and not self._targets.several:
                raise ValueError(
                    f"label_smoothing={self.label_smoothing} has no effect with "
                    f"criterion={self.criterion!r}, which has no such parameter."
                )
        self.criterion_ = self.initialized_instance(criterion, kwargs)
        return self

    def get_params_for_optimizer(self, prefix, named_parameters):
        """Return parameter groups with a rate for each depth (skorch's hook)."""
        kwargs = self.get_params_for(prefix)
        groups = self.module_.parameter_groups(
            kwargs.setdefault("lr", self.lr),
            self.lr_decay,
            kwargs.pop("param_groups", ()),
            "weight_decay" in inspect.signature(self.optimizer).parameters,
        )
        fuses = self.optimizer in (torch.optim.Adam, torch.optim.AdamW)
        if fuses and self.device.partition(":")[0] in ("cpu", "cuda"):
            # One kernel for all parameters instead of eight for each of them.
            kwargs.setdefault("fused", True)
        return (groups,), kwargs

    @property
    def _default_callbacks(self):
        accuracy = PassthroughScoring("valid_acc", lower_is_better=False)
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring(name="train_loss", on_train=True)),
            ("valid_loss", PassthroughScoring(name="valid_loss")),
            *([("valid_acc", accuracy)] if isinstance(self._targets, Labels) else []),
            ("best_epoch", BestEpoch()),
            ("print_log", QuietLog()),
        ]

    def get_dataset(self, X, y=None):
        """Return activations at the cut, computed block by block (skorch's hook).

        X holds images; activations are returned unchanged.
        """
        if are_activations(X):
            return X.dataset if isinstance(X, SliceDataset) else X
        if isinstance(X, SkorchDataset):
            X = X.X
        elif is_dataset(X) and not isinstance(X, SliceDataset):
            raise ImageInputError(
                f"X is a torch {type(X).__name__}, but sktl needs images: arrays, "
                "paths, encoded bytes or PIL images. "
                "skorch.helper.SliceDataset(dataset, idx=0) turns the images of a data "
                "set into a sequence."
            )
        images = read_images(self, X, reset=False)
        check_value_range(images, self.value_range_)
        return self._source().to_predict(images)

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return the two data sets that were made before the loop (skorch's hook)."""
        return X.train, X.valid

    def check_data(self, X, y=None):
        """Do nothing: everything was checked before (skorch's hook)."""

    def get_iterator(self, dataset, training=False):
        """Return the batches of a data set (skorch's hook).

        Training rows come in a new random order in every epoch, unless
        ``iterator_train__shuffle=False`` or another iterator says otherwise.
        """
        prefix = "iterator_train" if training else "iterator_valid"
        iterator, kwargs = getattr(self, prefix), self.get_params_for(prefix)
        kwargs.setdefault("batch_size", self.batch_size)
        if kwargs["batch_size"] == -1:
            kwargs["batch_size"] = len(dataset)
        if isinstance(iterator, type) and issubclass(iterator, DataLoader):
            if hasattr(dataset, "__getitems__"):
                kwargs.setdefault("collate_fn", whole_batch)
            # A generator of its own: DataLoader would draw from torch's global one.
            seed = self._training.order_seed if self._training else 0
            kwargs.setdefault("generator", torch.Generator().manual_seed(seed))
            if training:
                kwargs.setdefault("shuffle", True)
        return iterator(dataset, **kwargs)

    def infer(self, x, **fit_params):
        """Return float32 outputs for a batch of activations at the cut (skorch's hook).

        In a dict they are under ``"x"``, beside the weights of the rows.
        """
        if isinstance(x, Mapping):
            x = x["x"]
        device = self.device
        with autocast(device, self.embedding_part_.precision):
            x = to_device(x, device)
            exact = device == "cpu" and not self.module_.training
            outputs = self.module_.rowwise(x) if exact else self.module_(x)
        return outputs if outputs.dtype == torch.float64 else outputs.float()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of a batch: the mean of weighted rows (skorch's hook)."""
        losses = self._row_losses(y_pred, y_true, training)
        return losses if losses.ndim == 0 else _weighted(losses, X).mean()

    def _row_losses(self, y_pred, y_true, training: bool):
        """Return one loss for each row, or a single one if the criterion gives that."""
        if y_true.is_floating_point():
            y_true = y_true.to(y_pred.dtype)  # before it moves: MPS has no float64
        y_true = to_device(y_true, y_pred.device)
        losses = self._targets.losses(
            self.criterion_, y_pred, y_true, training, self.label_smoothing
        )
        return losses.flatten(1).mean(1) if losses.ndim > 1 else losses

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one pass; early stopping measures the average weights (skorch's hook)."""
        if not training:
            self._training.show_average(self)
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    def train_step_single(self, batch, **fit_params):
        """Compute the loss and the gradients of a batch, blended with ``mixup``."""
        Xi, yi = unpack_data(batch)
        # One row has no batch statistics to learn from, and no partner.
        self._set_training(len(yi) > 1)
        mixup = self._training.mixup if self._training is not None else None
        if mixup is not None and len(yi) > 1:
            loss, y_pred = mixup.step(self, Xi, yi)
        else:
            y_pred = self.infer(Xi)
            loss = self.get_loss(y_pred, yi, X=Xi, training=True)
        loss.backward()
        return {"loss": loss, "y_pred": y_pred}

    def validation_step(self, batch, **fit_params):
        """Return ``loss``, ``y_pred`` and, for labels, ``acc`` (skorch's hook)."""
        step = super().validation_step(batch, **fit_params)
        X, y = unpack_data(batch)
        hits = self._targets.hits(step["y_pred"], to_device(y, step["y_pred"].device))
        if hits is not None:
            step["acc"] = _weighted(hits, X).mean().item()
        return step

    def notify(self, method_name, **cb_kwargs):
        """Call the callbacks; one that ends training is no Ctrl-C (skorch's hook)."""
        # Callbacks watch training once; those that change gradients do so in a refit.
        training = self._training
        if training and training.is_refit and method_name != "on_grad_computed":
            getattr(self, method_name)(self, **cb_kwargs)
            return
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as interrupt:
            if is_deliberate(interrupt):
                raise StopTraining from interrupt
            raise

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Start an entry of the history, and open the next stage when it is due."""
        training = self._training
        if training.best is not None and training.best.is_over:
            raise StopTraining
        training.resume(self)
        super().on_epoch_begin(net, dataset_train, dataset_valid, **kwargs)
        dataset_train.epoch = len(self.history)
        if self.gradual:
            schedule, trained = training.schedule, self.cut_.trained
            done = schedule.step * self.max_epochs // schedule.n_steps
            starts = opening_epochs(len(trained), self.max_epochs)
            due = zip(reversed(trained), starts, strict=True)
            self.module_.open_stages(name for name, start in due if start <= done)

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        """Set the rates for the next step."""
        super().on_batch_begin(net, batch, training, **kwargs)
        if training:
            self._training.schedule.before_step()

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        """Follow the average of the weights; record a validation batch's accuracy."""
        average = self._training.average
        if training and average is not None:
            average.update_parameters(self.module_)
        if not training and "acc" in kwargs:
            self.history.record_batch("valid_acc", kwargs["acc"])

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Record the learning rate of the head, under skorch's name for it."""
        super().on_epoch_end(net, dataset_train, dataset_valid, **kwargs)
        head = min(self.optimizer_.param_groups, key=lambda group: group["depth"])
        self.history.record("event_lr", float(head["lr"]))

    def _outputs(self, X) -> np.ndarray:
        """Return the network's outputs for images: logits or targets."""
        check_is_fitted(self)
        return torch.cat([part.detach() for part in self.forward_iter(X)]).numpy()

    @property
    def n_iter_(self) -> int:
        """Number of epochs trained."""
        check_is_fitted(self)
        return len(self.history)

    @property
    def epochs_(self) -> dict[str, np.ndarray]:
        """One array for each measure, one entry for each epoch, epoch 0 first.

        Epoch 0 is the net before its first step; only validation measures it.
        ``pandas.DataFrame(model.epochs_)`` makes a table of it.
        """
        check_is_fitted(self)
        return as_columns([vars(self).get("epoch_zero_", {}), *self.history])

    def load_params(
        self,
        f_params=None,
        f_optimizer=None,
        f_criterion=None,
        f_history=None,
        checkpoint=None,
        **kwargs,
    ):
        """Load what ``save_params`` or a checkpoint has saved, as skorch does.

        The weights come with the classes and everything else that predictions need, and
        training can continue from there. The arguments are those of
        :meth:`skorch.NeuralNet.load_params`.
        """
        before = copy.deepcopy(self.module_.state_dict()) if self.initialized_ else None
        try:
            super().load_params(
                f_params, f_optimizer, f_criterion, f_history, checkpoint, **kwargs
            )
            # Weights of a net that was never trained have no facts.
            if (f_params or checkpoint) and self.module_.facts:
                self._adopt(self.module_.facts)
        except (RuntimeError, ValueError):
            if before is not None:  # a refused file leaves the net unchanged
                self.module_.load_state_dict(before)
            raise
        if f_optimizer or checkpoint:
            restore_rates(self.optimizer_)

    @property
    def device(self) -> str:
        """The device, never "auto", for skorch; get_params has what was passed."""
        device = self.__dict__["device"]
        return resolve_device(device) if device == "auto" else device

    @device.setter
    def device(self, value) -> None:
        self.__dict__["device"] = value

    def get_params(self, deep=True):
        """Return the parameters, as passed, without those inside callbacks."""
        names = sorted(n for n in vars(self) if n[0] != "_" and n[-1] != "_")
        return {name: self.__dict__[name] for name in names}

    def set_params(self, **params):
        """Set parameters; they take effect at the next ``fit`` or ``partial_fit``.

        If training continues, ``backbone``, ``weights`` and ``head`` cannot change, and
        ``unfreeze`` can only grow.
        """
        known = self._known_names()
        for name, value in params.items():
            check_name(name, known, type(self).__name__)
            # Not setattr: skorch would register a module as part of the net.
            self.__dict__[name] = value
        return self

    def _known_names(self) -> set[str]:
        """Return skorch's parameters, and those in a signature of the class."""
        known = set(EXPERT_CONSTRAINTS)
        for cls in type(self).__mro__[: type(self).__mro__.index(FineTuned)]:
            known |= set(inspect.signature(cls).parameters)
        return known

    def _validate_params(self):
        """Check the values of parameters, and the names of those that are passed on."""
        params, name = self.get_params(), type(self).__name__
        validate_parameter_constraints(self._parameter_constraints, params, name)
        known = self._known_names()
        for parameter in params:
            check_name(parameter, known, name)

    def __sklearn_clone__(self):
        params = self.get_params()
        # Transforms of torchvision have a get_params too, of another kind.
        augment = copy.deepcopy(params.pop("augment", "none"))
        params = {name: clone(value, safe=False) for name, value in params.items()}
        copied = type(self)(**params, augment=augment)
        if "_metadata_request" in vars(self):
            copied._metadata_request = copy.deepcopy(self._metadata_request)
        return copied

    def __getstate__(self):
        # Only what was trained, on the CPU. The losses of single batches are left out,
        # and so are the optimizer's moments (twice the weights), which start over if
        # training continues.
        left_out = ("optimizer_", "_training")
        state = {k: v for k, v in vars(self).items() if k not in left_out}
        if state.get("history_"):
            epochs = [{**epoch, "batches": []} for epoch in state["history_"]]
            state["history_"] = History(epochs)
        for name in ("module_", "criterion_"):
            if isinstance(state.get(name), nn.Module):
                state[name] = copy.deepcopy(state[name]).to("cpu")
                state[name].zero_grad()
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        try:
            device = resolve_device(self.device)
        except ValueError:
            wanted = self.__dict__["device"]
            warnings.warn(
                f"This estimator was made for device={wanted!r}, which is not on this "
                "machine; it now uses device='cpu'.",
                DeviceWarning,
                stacklevel=2,
            )
            device = self.device = "cpu"
        for name in ("module_", "criterion_"):
            if isinstance(vars(self).get(name), nn.Module):
                self.__dict__[name].to(device)
        if self.initialized_:
            with contextlib.suppress(ValueError):  # for parameters set since
                self.initialize_optimizer()

    def __repr__(self, N_CHAR_MAX=700):
        return BaseEstimator.__repr__(self, N_CHAR_MAX)

    def __sklearn_is_fitted__(self):
        return self._begun

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags


# What fitting sets, besides attributes that end in an underscore.
_LEARNED = {"_begun", "_targets", "_split_seed", "_built", "_training"}


def passed(arguments: dict) -> dict:
    """Return the parameters among the local variables of an ``__init__``."""
    own = {"self", "kwargs", "__class__"}
    return {k: v for k, v in arguments.items() if k not in own} | arguments["kwargs"]


def _weighted(values: torch.Tensor, X) -> torch.Tensor:
    """Return one value for each row of a batch, times its weight if it has one."""
    if isinstance(X, Mapping) and "sample_weight" in X:
        # Weights have mean 1 over all rows, so a batch of light rows counts less.
        return values * to_device(X["sample_weight"], values.device)
    return values
