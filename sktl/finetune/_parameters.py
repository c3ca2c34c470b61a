"""``NetParameters``: parameters that suit both scikit-learn and skorch."""

from __future__ import annotations

import copy
import difflib
import inspect
import os
from collections.abc import Mapping
from numbers import Integral, Real

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from skorch import NeuralNet
from torch import nn

from sktl.engine import EmbeddingStore, resolve_device
from sktl.finetune._rates import set_rates
from sktl.finetune._run import TrainingRun

# What a parameter with a double underscore may be addressed to.
PREFIXES = ("callbacks", "criterion", "iterator_train", "iterator_valid", "optimizer")
# Parameters of an iterator that name rows.
SAMPLERS = {"sampler", "batch_sampler"}


def passed(arguments: dict) -> dict:
    """Return the parameters among the local variables of an ``__init__``."""
    own = {"self", "kwargs", "__class__"}
    return {k: v for k, v in arguments.items() if k not in own} | arguments["kwargs"]


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
    # Whether the head has begun: training can go on, with what was learned of the data.
    _begun = False

    def __init__(self, backbone, **params):
        vars(self).update(backbone=backbone, **params)

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
        params = super(NetParameters, self._plain()).get_params(deep=deep)
        return {name: vars(self).get(name, value) for name, value in params.items()}

    def _plain(self) -> NetParameters:
        """Return this estimator, or a shallow copy without what misleads scikit-learn.

        Transforms of torchvision have a ``get_params`` too, of another kind.
        """
        if not hasattr(self.augment, "get_params"):
            return self
        plain = object.__new__(type(self))
        vars(plain).update(vars(self), augment=None)
        return plain

    def __sklearn_clone__(self):
        copied = super(NetParameters, self._plain()).__sklearn_clone__()
        if copied.augment is None:
            copied.augment = copy.deepcopy(self.augment)
        return copied

    def set_params(self, **params):
        """Set parameters.

        Those of the signature take effect at the next ``fit`` or ``partial_fit``, as
        scikit-learn has it; ``lr`` and the ones with a double underscore act on a net
        that is already initialised, as skorch has it. A new ``lr`` keeps the
        proportions between the rates of the stages. Training that goes on cannot
        change ``backbone``, ``weights`` and ``head``, and ``unfreeze`` can only grow.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : estimator
            This estimator.
        """
        known, nested = self._known_names(), {}
        for name, value in params.items():
            if "__" in name and name.startswith(PREFIXES):
                nested[name] = value
            elif name in known:
                setattr(self, name, value)
            else:
                super().set_params(**{name: value})
        if isinstance(params.get("lr"), str):
            vars(self).pop("lr_", None)  # looked for when training goes on
        rate = nested.pop("optimizer__lr", params.get("lr"))
        if "optimizer__lr" in params:
            vars(self)["optimizer__lr"] = rate
        if isinstance(rate, Real) and hasattr(self, "lr_"):
            self.lr_ = rate
            self._set_rates()
        if nested:
            self._need_optimizer()
        if not hasattr(self, "optimizer_"):
            # Before fit there is nothing to act on yet.
            acting = {k: v for k, v in nested.items() if k.startswith("callbacks__")}
            vars(self).update({k: v for k, v in nested.items() if k not in acting})
            nested = acting
        later = {k: v for k, v in nested.items() if k.startswith("iterator_")}
        vars(self).update(later)
        nested = {k: v for k, v in nested.items() if k not in later}
        if nested:
            super().set_params(**nested)
        return self

    def _known_names(self) -> set[str]:
        """Return the parameters that have a name in some signature of the class."""
        known: set[str] = set()
        for cls in type(self).__mro__:
            if cls is NetParameters:
                return known
            known |= set(inspect.signature(cls.__init__).parameters)
        return known

    def _need_optimizer(self) -> None:
        """Make the optimiser that a pickle leaves out."""
        if self.initialized_ and not hasattr(self, "optimizer_"):
            self._initialize_optimizer()

    def _set_rates(self) -> None:
        """Give each group of the optimiser the rate that follows from ``lr``."""
        if hasattr(self, "optimizer_"):
            set_rates(self.optimizer_, self.lr_, self.lr_decay)

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
        known = self._known_names()
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
