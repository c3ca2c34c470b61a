"""``NetParameters``: parameters that suit both scikit-learn and skorch."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Mapping
from numbers import Integral, Real

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from skorch import NeuralNet
from torch import nn
from torch.utils.data import DataLoader

from sktl.engine import EmbeddingStore, resolve_device
from sktl.finetune._run import TrainingRun

# What a parameter with a double underscore may be addressed to.
PREFIXES = ("callbacks", "criterion", "iterator_train", "iterator_valid", "optimizer")


class NetParameters(NeuralNet):
    """A skorch net whose parameters behave as scikit-learn's checks demand."""

    _parameter_constraints: dict = {
        "backbone": [str, HasMethods(["forward", "state_dict"]), callable],
        "weights": [str, os.PathLike, None],
        "unfreeze": [Interval(Integral, 0, None, closed="left"), str, list, tuple],
        "head": [StrOptions({"linear"}), callable],
        "head_init": [StrOptions({"probe", "random"})],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither"), StrOptions({"find"})],
        "lr_decay": [Interval(Real, 0, 1, closed="right")],
        "schedule": [StrOptions({"constant", "cosine", "onecycle"})],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        "gradual": ["boolean"],
        "augment": [StrOptions({"none", "light", "strong"}), Mapping, callable],
        "n_views": [Interval(Integral, 1, None, closed="left"), None],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "cutmix": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "image_size": [Interval(Integral, 1, None, closed="left"), list, tuple, None],
        "image_shape": [list, tuple, None],
        "value_range": [list, tuple, None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "device": [str],
        "cache": [str, os.PathLike, EmbeddingStore, None],
        "max_bytes": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
        "optimizer": [callable],
        "criterion": [callable, None],
        "iterator_train": [callable],
        "iterator_valid": [callable],
        "train_split": [callable, None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    # skorch sets these on the instance in __init__, where scikit-learn's checks allow
    # nothing but parameters. On the class they say the same of an unfitted net.
    history_ = None
    initialized_ = False
    virtual_params_: dict = {}
    # Parts of skorch that make no sense here: the module is built from the backbone.
    compile = False
    dataset = None
    predict_nonlinearity = "auto"
    _run: TrainingRun | None = None

    def __init__(
        self,
        backbone="pocket",
        *,
        weights="default",
        unfreeze=1,
        head="linear",
        head_init="probe",
        max_epochs=20,
        lr=1e-3,
        lr_decay=0.3,
        schedule="cosine",
        warmup=0.1,
        gradual=False,
        augment="light",
        n_views=4,
        mixup=0.0,
        cutmix=0.0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        batch_size=32,
        image_size=None,
        image_shape=None,
        value_range=None,
        precision="float32",
        device="auto",
        cache="session",
        max_bytes=2 * 1024**3,
        random_state=None,
        optimizer=torch.optim.AdamW,
        criterion=None,
        iterator_train=DataLoader,
        iterator_valid=DataLoader,
        train_split=None,
        callbacks=None,
        warm_start=False,
        use_caching="auto",
        torch_load_kwargs=None,
        verbose=0,
        **kwargs,
    ):
        self.backbone = backbone
        self.weights = weights
        self.unfreeze = unfreeze
        self.head = head
        self.head_init = head_init
        self.max_epochs = max_epochs
        self.lr = lr
        self.lr_decay = lr_decay
        self.schedule = schedule
        self.warmup = warmup
        self.gradual = gradual
        self.augment = augment
        self.n_views = n_views
        self.mixup = mixup
        self.cutmix = cutmix
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.batch_size = batch_size
        self.image_size = image_size
        self.image_shape = image_shape
        self.value_range = value_range
        self.precision = precision
        self.device = device
        self.cache = cache
        self.max_bytes = max_bytes
        self.random_state = random_state
        self.optimizer = optimizer
        self.criterion = criterion
        self.iterator_train = iterator_train
        self.iterator_valid = iterator_valid
        self.train_split = train_split
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.use_caching = use_caching
        self.torch_load_kwargs = torch_load_kwargs
        self.verbose = verbose
        vars(self).update(kwargs)

    @property
    def device(self) -> str:
        """The device, never "auto", for skorch; get_params has what was passed."""
        device = vars(self)["device"]
        return resolve_device(device) if device == "auto" else device

    @device.setter
    def device(self, value) -> None:
        vars(self)["device"] = value

    @property
    def _params_to_validate(self) -> set[str]:
        return {name for name in vars(self) if "__" in name and name[0] != "_"}

    def _get_param_names(self):
        # skorch would count helper attributes as parameters; here those start or end
        # with an underscore.
        return [name for name in vars(self) if name[0] != "_" and name[-1] != "_"]

    def get_params(self, deep=True):
        """Return the parameters, as passed.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include those of callbacks and other nested objects.

        Returns
        -------
        params : dict
            Names and values.
        """
        params = super().get_params(deep=deep)
        params["device"] = vars(self)["device"]
        return params

    def set_params(self, **params):
        """Set parameters.

        Those of the signature take effect at the next ``fit``, as scikit-learn has it;
        ``lr`` and the ones with a double underscore act on a net that is already
        initialised, as skorch has it. A new ``lr`` keeps the proportions between the
        rates of the stages.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : estimator
            This estimator.
        """
        signature = inspect.signature(type(self).__init__).parameters
        nested = {}
        for name, value in params.items():
            if "__" in name and name.startswith(PREFIXES):
                nested[name] = value
            elif name in signature:
                setattr(self, name, value)
            else:
                super().set_params(**{name: value})
        if isinstance(params.get("lr"), Real) and hasattr(self, "lr_"):
            self.lr_ = self.lr
            self._set_rates()
        if not hasattr(self, "optimizer_"):
            # Before fit, or after unpickling: there is nothing to act on yet.
            acting = {k: v for k, v in nested.items() if k.startswith("callbacks__")}
            vars(self).update({k: v for k, v in nested.items() if k not in acting})
            nested = acting
        later = {k: v for k, v in nested.items() if k.startswith("iterator_")}
        vars(self).update(later)
        nested = {k: v for k, v in nested.items() if k not in later}
        if nested:
            super().set_params(**nested)
        return self

    def _set_rates(self) -> None:
        """Give each group of the optimiser the rate that follows from ``lr``."""
        if hasattr(self, "optimizer_"):
            for group in self.optimizer_.param_groups:
                group["lr"] = self.lr_ * self.lr_decay ** group["depth"]

    def __setattr__(self, name, value):
        # skorch takes every module for a part of the net; a backbone, a criterion or a
        # transform that is passed as a parameter is only kept.
        if isinstance(value, nn.Module) and not name.endswith("_"):
            vars(self)[name] = value
        else:
            super().__setattr__(name, value)

    def _validate_params(self):
        """Check the values of parameters, and the names of those that are passed on."""
        validate_parameter_constraints(
            self._parameter_constraints,
            self.get_params(deep=False),
            caller_name=type(self).__name__,
        )
        known = set(inspect.signature(type(self).__init__).parameters)
        for name in self._get_param_names():
            head, _, tail = name.partition("__")
            if name in known or (head in PREFIXES and tail):
                continue
            close = difflib.get_close_matches(name, known | set(PREFIXES), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{type(self).__name__} got an unknown parameter {name!r}.{hint} "
                f"Beside its own it takes those that begin with "
                f"{', '.join(prefix + '__' for prefix in PREFIXES)}."
            )

    def __repr__(self, N_CHAR_MAX=700):
        return BaseEstimator.__repr__(self, N_CHAR_MAX)
