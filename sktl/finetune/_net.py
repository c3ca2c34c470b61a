"""``Net``: the hooks through which skorch trains the stages behind a cut."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from contextlib import nullcontext

import torch
from skorch.callbacks import EpochTimer, PassthroughScoring, PrintLog
from skorch.dataset import unpack_data
from skorch.utils import to_device
from torch import nn
from torch.utils.data import DataLoader

from sktl.backbones import resolve
from sktl.engine import FrozenPart, resolve_engine
from sktl.finetune._activations import as_is
from sktl.finetune._best_epoch import BestEpoch, StopTraining, is_deliberate
from sktl.finetune._cut import Cut, cut_at
from sktl.finetune._head import make_head
from sktl.finetune._parameters import SAMPLERS
from sktl.finetune._rates import group_by_depth
from sktl.finetune._run import opening_epochs
from sktl.finetune._saved import SavedNet
from sktl.finetune._trained_part import TrainedPart

# What a net is built from: set later, the first three are refused by training that
# goes on, and the others are followed.
FIXED = {"backbone", "weights", "head"}
BUILT_FROM = (
    *sorted(FIXED),
    *("unfreeze", "optimizer", "lr_decay", "criterion", "label_smoothing"),
)

# As the engine's on a CPU: small enough for a single row, and for the cache.
_EQUAL_BATCH = 8


class QuietLog(PrintLog):
    """skorch's log, which lays out a table in every epoch even if none is wanted."""

    def on_epoch_end(self, net, **kwargs):
        """Print the epoch, if anybody is to see it."""
        # Without this, a fifth of what skorch adds to the epoch of a linear head.
        if net.verbose or self.sink is not print:
            super().on_epoch_end(net, **kwargs)


class Net(SavedNet):
    """A skorch net over the stages behind a cut, fed with activations at the cut."""

    def _settle(self) -> None:
        """Resolve the backbone and the cut; errors come before any expensive work."""
        self.backbone_ = resolve(self.backbone, self.weights, self.random_state)
        self._settle_parts()

    def _settle_parts(self) -> None:
        """Work out what is frozen, what is trained, and how images are prepared."""
        engine, precision = resolve_engine("auto", self.device, self.precision)
        info = self.backbone_.info
        self.precision_ = precision
        self.recipe_ = info.recipe.at(self.image_size)
        self.cut_ = self._wanted_cut()
        if not hasattr(self, "value_range_"):
            self.value_range_ = self.value_range
        self.embedding_part_ = FrozenPart(
            backbone=self.backbone_,
            layers=(info.stages[-1],),
            pool="avg",
            recipe=self.recipe_,
            value_range=self.value_range_,
            precision=precision,
            engine=engine,
        )
        self.frozen_part_ = self._part_before_the_cut()

    def _wanted_cut(self) -> Cut:
        """Return the cut that ``unfreeze`` asks for."""
        reference = self.backbone_
        return cut_at(
            self.unfreeze,
            reference.info,
            lambda: [
                name
                for name, stage in reference.load().stages.items()
                if next(stage.parameters(), None) is not None
            ],
        )

    def _part_before_the_cut(self) -> FrozenPart | None:
        """Return what is frozen as the engine has it: the same rows as features."""
        after = self.cut_.after
        if after is None or not self.cut_.behind:
            return self.embedding_part_ if after else None
        whole = self.embedding_part_
        return FrozenPart(
            whole.backbone,
            (after,),
            "none",
            whole.recipe,
            whole.value_range,
            whole.precision,
            whole.engine,
        )

    def initialize(self):
        """Build everything, untrained, as skorch does; ``fit`` does so by itself.

        Returns
        -------
        self : estimator
            The initialised net.
        """
        self._settle()
        return self._initialize_settled()

    def _initialize_settled(self):
        self._forget()
        return super().initialize()

    def _forget(self) -> None:
        """Drop what an earlier fit has learned of training."""
        for name in ("lr_", "lr_curve_", "best_epoch_", "epoch_zero_", "_begun"):
            vars(self).pop(name, None)

    def initialize_module(self):
        """Build the stages behind the cut and the head (skorch's hook)."""
        head = make_head(self.head, self.backbone_.info.n_features, self._n_outputs())
        self.module_ = self._trained_part({}, self._finish_head(head))
        self._built = self._building_parameters()
        self._head_outputs = self._n_outputs()
        return self

    def _trained_part(self, stages: Mapping, head: nn.Module) -> TrainedPart:
        """Return the part behind the cut; ``stages`` are those that it has already."""
        stages = dict(stages.items())
        for name in self.cut_.behind:
            if name not in stages:
                stages[name] = copy.deepcopy(self.backbone_.load().stages[name])
        return TrainedPart(
            {name: stages[name] for name in self.cut_.behind},
            self.cut_.trained,
            head,
            # Batch statistics would change from the first step what the probe was
            # solved on; random weights have no statistics worth keeping.
            keep_statistics=self.weights is not None,
        )

    def _building_parameters(self) -> dict:
        """Return the parameters that a net is built from, as they are now."""
        return {name: getattr(self, name, None) for name in BUILT_FROM}

    def _changed_parameters(self) -> set[str]:
        """Return those that the net was built from and that were set since."""
        now = self._building_parameters()
        return {name for name, value in self._built.items() if value != now[name]}

    def _follow_parameters(self) -> None:
        """Bring a net that goes on training into line with parameters set since."""
        changed = self._changed_parameters()
        if fixed := sorted(changed & FIXED):
            raise ValueError(
                f"{fixed[0]}={getattr(self, fixed[0])!r} was set after the network was "
                "built. Training that goes on (partial_fit, warm_start=True) keeps the "
                "network; call fit with warm_start=False to begin anew."
            )
        shut = set(self.cut_.trained) - set(self._wanted_cut().trained)
        if shut:
            raise ValueError(
                f"unfreeze={self.unfreeze!r} leaves out {', '.join(sorted(shut))}, "
                "which training has changed already. While it goes on, unfreeze can "
                "only grow; call fit with warm_start=False to begin anew."
            )
        self._settle_parts()
        if "unfreeze" in changed:
            part = self._trained_part(self.module_.stages, self.module_.head)
            part.facts = self.module_.facts
            self.module_ = part.to(self.device)
        if changed & {"criterion", "label_smoothing"}:
            self._initialize_criterion()
        if changed & {"unfreeze", "optimizer", "lr_decay"}:
            self._initialize_optimizer()
        self._need_optimizer()
        self._built = self._building_parameters()

    def _finish_head(self, head: nn.Module) -> nn.Module:
        """Return the head with what comes behind it."""
        return head

    def _n_outputs(self) -> int:
        raise NotImplementedError

    def initialize_criterion(self):
        """Build the loss, one value per row so that weights apply (skorch's hook)."""
        criterion = self._criterion()
        kwargs = self.get_params_for("criterion")
        if isinstance(criterion, type):
            accepted = inspect.signature(criterion).parameters
            if "reduction" in accepted:
                kwargs.setdefault("reduction", "none")
            self._adapt_criterion(kwargs, accepted)
        self.criterion_ = self.initialized_instance(criterion, kwargs)
        return self

    def _criterion(self):
        raise NotImplementedError

    def _adapt_criterion(self, kwargs: dict, accepted: Mapping) -> None:
        """Add what the estimator's own parameters say to those of the criterion."""

    def get_params_for_optimizer(self, prefix, named_parameters):
        """Return parameter groups with a rate for each depth (skorch's hook).

        Parameters
        ----------
        prefix : str
            ``"optimizer"``.

        named_parameters : iterable
            Not used: the trained part knows the depth of its own.

        Returns
        -------
        args, kwargs : tuple, dict
            What the optimiser is called with.
        """
        kwargs = self.get_params_for(prefix)
        lr = kwargs.setdefault("lr", getattr(self, "lr_", self.lr))
        if isinstance(lr, str):  # "find" before anything is found
            lr = kwargs["lr"] = 1.0
        groups = group_by_depth(
            self.module_.by_depth(),
            lr,
            self.lr_decay,
            kwargs.pop("param_groups", ()),
            "weight_decay" in inspect.signature(self.optimizer).parameters,
        )
        fuses = self.optimizer in (torch.optim.Adam, torch.optim.AdamW)
        if fuses and self.device.partition(":")[0] in ("cpu", "cuda"):
            # One kernel for all parameters instead of eight for each of them.
            kwargs.setdefault("fused", True)
        return (groups,), kwargs

    def initialize_optimizer(self, triggered_directly=None):
        """Build the optimiser over everything that is trained at some time."""
        args, kwargs = self.get_params_for_optimizer("optimizer", None)
        self.optimizer_ = self.optimizer(*args, **kwargs)
        return self

    @property
    def _default_callbacks(self):
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring(name="train_loss", on_train=True)),
            ("valid_loss", PassthroughScoring(name="valid_loss")),
            *self._score_callbacks,
            ("best_epoch", BestEpoch()),
            ("print_log", QuietLog()),
        ]

    @property
    def _score_callbacks(self) -> list:
        return []

    def get_iterator(self, dataset, training=False):
        """Return batches of a data set (skorch's hook).

        Training rows come in a new random order in every epoch, unless
        ``iterator_train__shuffle=False``, a sampler or another iterator says otherwise.

        Parameters
        ----------
        dataset : torch.utils.data.Dataset
            The rows.

        training : bool, default=False
            Whether to train on them.

        Returns
        -------
        iterator : iterable
            The batches.
        """
        prefix = "iterator_train" if training else "iterator_valid"
        iterator, kwargs = getattr(self, prefix), self.get_params_for(prefix)
        if "batch_sampler" not in kwargs:
            kwargs.setdefault("batch_size", self.batch_size)
            if kwargs["batch_size"] == -1:
                kwargs["batch_size"] = len(dataset)
        if isinstance(iterator, type) and issubclass(iterator, DataLoader):
            if hasattr(dataset, "__getitems__"):
                kwargs.setdefault("collate_fn", as_is)
            # A generator of its own: DataLoader would draw from torch's global one.
            seed = self._run.seed if self._run else 0
            kwargs.setdefault("generator", torch.Generator().manual_seed(seed))
            if training and not SAMPLERS & set(kwargs):
                kwargs.setdefault("shuffle", True)
        return iterator(dataset, **kwargs)

    def infer(self, x, **fit_params):
        """Return the outputs for a batch of activations, in float32 (skorch's hook).

        Parameters
        ----------
        x : Tensor or dict
            Activations at the cut; in a dict under ``"x"``.

        **fit_params : dict
            Not used.

        Returns
        -------
        outputs : Tensor
            Logits or targets.
        """
        if isinstance(x, Mapping):
            x = x["x"]
        device = self.device
        with self._autocast(device):
            x = to_device(x, device)
            training = self.module_.training or device != "cpu"
            outputs = self.module_(x) if training else self._in_equal_batches(x)
        return outputs if outputs.dtype == torch.float64 else outputs.float()

    def _in_equal_batches(self, x):
        """Return the outputs for a batch, each row's the same whatever the others.

        Kernels are chosen by the size of a batch and differ in the last bits.
        """
        outputs = []
        for rows in x.split(_EQUAL_BATCH):
            missing = _EQUAL_BATCH - len(rows)
            filled = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
            outputs.append(self.module_(filled)[: len(rows)])
        return torch.cat(outputs)

    def _autocast(self, device: str | None = None):
        """Return the context of mixed precision."""
        if self.precision_ == "float32":
            return nullcontext()
        kind = (device or self.device).partition(":")[0]
        return torch.autocast(kind, dtype=getattr(torch, self.precision_))

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of a batch: the mean of weighted rows (skorch's hook).

        Parameters
        ----------
        y_pred, y_true : Tensor
            Outputs and targets.

        X : Tensor or dict, default=None
            The batch; its ``"sample_weight"`` counts if it has one.

        training : bool, default=False
            Whether the loss is to be minimised, or only reported.

        Returns
        -------
        loss : Tensor
            A number.
        """
        rows = self._row_losses(y_pred, to_device(y_true, y_pred.device), training)
        if rows.ndim == 0:
            return rows
        rows = rows.flatten(1).mean(1) if rows.ndim > 1 else rows
        if isinstance(X, Mapping) and "sample_weight" in X:
            # Weights have mean 1 over all rows, so a batch of light rows counts less.
            rows = rows * to_device(X["sample_weight"], rows.device)
        return rows.mean()

    def _row_losses(self, y_pred, y_true, training: bool):
        return self.criterion_(y_pred, y_true)

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Start a row of the history, and let the next stage learn when it is due."""
        super().on_epoch_begin(net, dataset_train, dataset_valid, **kwargs)
        dataset_train.epoch = len(self.history)
        if self.gradual and self._run is not None:
            done = self._run.step * self.max_epochs // self._run.n_steps
            starts = opening_epochs(len(self.cut_.trained), self.max_epochs)
            depths = self.cut_.depths
            self.module_.open_stages(
                tuple(s for s in self.cut_.trained if starts[depths[s] - 1] <= done)
            )

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Note the learning rate of the head, under the name that skorch gives it."""
        super().on_epoch_end(net, dataset_train, dataset_valid, **kwargs)
        head = min(self.optimizer_.param_groups, key=lambda group: group["depth"])
        self.history.record("event_lr", float(head["lr"]))

    def train_step(self, batch, **fit_params):
        """Set the rates of this step and take it (skorch's hook)."""
        if self._run is not None:
            self._run.before_step(self.optimizer_)
        return super().train_step(batch, **fit_params)

    def _set_training(self, training=True):
        # skorch walks through all modules before every batch: a quarter of the time
        # of a linear head's step.
        if self.module_.training is not training:
            super()._set_training(training)

    def train_step_single(self, batch, **fit_params):
        """Compute the loss and the gradients of a batch, mixed if so wished."""
        Xi, yi = unpack_data(batch)
        self._set_training(True)
        if len(yi) == 1:
            # One row has no batch statistics to learn from.
            super()._set_training(False)
        if self._run is None or self._run.mixing is None or len(yi) == 1:
            y_pred = self.infer(Xi)
            loss = self.get_loss(y_pred, yi, X=Xi, training=True)
        else:
            x = Xi["x"] if isinstance(Xi, Mapping) else Xi
            x, partner, share = self._run.mixing(to_device(x, self.device))
            y_pred = self.infer(x)
            partner = partner.to(yi.device)
            own = self.get_loss(y_pred, yi, X=Xi, training=True)
            if isinstance(Xi, Mapping):
                weight = Xi["sample_weight"]
                Xi = {"sample_weight": weight[partner.to(weight.device)]}
            other = self.get_loss(y_pred, yi[partner], X=Xi, training=True)
            loss = share * own + (1 - share) * other
        loss.backward()
        return {"loss": loss, "y_pred": y_pred}

    def notify(self, method_name, **cb_kwargs):
        """Call the callbacks; one that ends training is told apart from Ctrl-C."""
        getattr(self, method_name)(self, **cb_kwargs)
        stop = None
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **cb_kwargs)
            except StopTraining as wish:
                stop = wish  # the others are to see this moment as well
            except KeyboardInterrupt as interrupt:
                if is_deliberate(interrupt):
                    raise StopTraining from interrupt
                raise
        if stop is not None:
            raise stop
