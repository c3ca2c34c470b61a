"""The parameters of fine-tuned estimators: values, names and conflicts."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Collection, Mapping
from numbers import Integral, Real

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from skorch.callbacks import LRScheduler

from sktl.engine import resolve_device
from sktl.images import variation_of
from sktl.store import EmbeddingStore

CONSTRAINTS: dict = {
    "backbone": [str, HasMethods(["forward", "state_dict"]), callable],
    "weights": [str, os.PathLike, None],
    "unfreeze": [Interval(Integral, 0, None, closed="left"), str, list, tuple],
    "head": [StrOptions({"linear"}), callable],
    "head_init": [StrOptions({"probe", "random"})],
    "max_epochs": [Interval(Integral, 0, None, closed="left")],
    "lr": [Interval(Real, 0, None, closed="neither")],
    "lr_decay": [Interval(Real, 0, 1, closed="right")],
    "schedule": [StrOptions({"constant", "cosine", "onecycle"})],
    "warmup": [Interval(Real, 0, 1, closed="left")],
    "gradual": ["boolean"],
    "augment": [StrOptions({"none", "light", "strong"}), Mapping, callable],
    "n_views": [Interval(Integral, 1, None, closed="left"), None],
    "mixup": [Interval(Real, 0, None, closed="left")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "refit": ["boolean"],
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
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
}
# skorch's own parameters: accepted as keywords, known by these names.
EXPERT_CONSTRAINTS: dict = {
    "optimizer": [callable],
    "criterion": [callable, None],
    "iterator_train": [callable],
    "iterator_valid": [callable],
    "train_split": [callable, None],
    "callbacks": [list, str, None],
    "predict_nonlinearity": [callable, StrOptions({"auto"}), None],
    "use_caching": ["boolean", StrOptions({"auto"})],
    "torch_load_kwargs": [dict, None],
}
# What a parameter with a double underscore may begin with.
PREFIXES = ("callbacks", "criterion", "iterator_train", "iterator_valid", "optimizer")
_BEST_EPOCH = "callbacks__best_epoch"


def check_name(name: str, known: Collection[str], caller: str) -> None:
    """Raise on an unknown parameter name, and suggest a known one."""
    prefix, _, rest = name.partition("__")
    if name in known or (prefix in PREFIXES and rest):
        return
    close = difflib.get_close_matches(name, [*known, *PREFIXES], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"{caller} got an unknown parameter {name!r}.{hint} Besides its own, it takes "
        f"names that begin with {', '.join(prefix + '__' for prefix in PREFIXES)}."
    )


def building_parameters(net) -> dict:
    """Return what network, loss, optimizer and callbacks are built from."""
    names = {"backbone", "weights", "head", "unfreeze", "lr", "lr_decay", "optimizer"}
    names |= {"criterion", "label_smoothing", "callbacks"}
    parts = ("optimizer__", "criterion__", "callbacks__")
    names |= {name for name in vars(net) if name.startswith(parts)}
    return {name: getattr(net, name) for name in names}


def check_settings(net) -> None:
    """Raise on parameters that contradict each other or do not suit this machine."""
    resolve_device(net.device)
    for name in ("sampler", "batch_sampler"):
        if f"iterator_train__{name}" in vars(net):
            raise ValueError(
                f"iterator_train__{name} draws rows by their position in X, but equal "
                "rows are trained on as one, and in a different order. Use "
                "sample_weight, or class_weight='balanced', instead."
            )
    if net.early_stopping and not net.train_split and not net.validation_fraction:
        raise ValueError(
            "early_stopping=True watches held-out rows, but validation_fraction=0 with "
            "train_split=None holds out none. Set validation_fraction above 0, or pass "
            "train_split."
        )
    if net.head_init == "probe" and net.head != "linear":
        raise ValueError(
            f"head_init='probe' solves a linear head, and head={net.head!r}. Pass "
            "head_init='random' with a head of your own."
        )
    variation_of(net.augment)
    _check_callbacks(net)


def _check_callbacks(net) -> None:
    """Raise on callbacks that have nothing to watch, or undo what a parameter does."""
    disabled = isinstance(net.callbacks, str)
    if net.early_stopping and (disabled or getattr(net, _BEST_EPOCH, True) is None):
        raise ValueError(
            "early_stopping=True works through the callback best_epoch, which "
            f"callbacks={net.callbacks!r} or {_BEST_EPOCH}=None removes."
        )
    own = [] if disabled else net.callbacks or []
    own = [item[-1] if isinstance(item, tuple | list) else item for item in own]
    refits = net.early_stopping and net.refit and not net.train_split
    for callback in own:
        kind = callback if isinstance(callback, type) else type(callback)
        watched = _watched(callback)
        if watched.startswith("valid") and not (net.early_stopping or net.train_split):
            raise ValueError(
                f"The callback {kind.__name__} watches {watched!r}, but nothing is "
                "held out to measure it on. Pass early_stopping=True (which needs no "
                "callback), train_split=ValidSplit(5), or another monitor, such as "
                "'train_loss'."
            )
        if refits and getattr(callback, "load_best", False):
            raise ValueError(
                f"{kind.__name__}(load_best=True) would replace what refit=True has "
                "trained on all rows by weights of the run before it. Pass "
                "refit=False, or load_best=False."
            )
        if issubclass(kind, LRScheduler) and refits:
            raise ValueError(
                "refit=True trains again without callbacks, so the LRScheduler among "
                "them could not set the rates. Pass refit=False, or set schedule and "
                "warmup instead."
            )
        if issubclass(kind, LRScheduler) and (net.schedule != "constant" or net.warmup):
            raise ValueError(
                f"The LRScheduler among the callbacks and schedule={net.schedule!r}, "
                f"warmup={net.warmup!r} would both set the learning rates. Pass "
                "schedule='constant', warmup=0, or drop the callback."
            )


def _watched(callback) -> str:
    """Return the measure that a callback monitors, or a class monitors by default."""
    monitor = getattr(callback, "monitor", None)
    if isinstance(callback, type):
        parameters = inspect.signature(callback).parameters
        monitor = parameters["monitor"].default if "monitor" in parameters else None
    return monitor if isinstance(monitor, str) else ""
