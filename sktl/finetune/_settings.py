"""``check_settings``: parameters that contradict one another, or what is here."""

from __future__ import annotations

import inspect

from skorch.callbacks import LRScheduler

from sktl.engine import resolve_device
from sktl.finetune._augment import variation_of
from sktl.finetune._parameters import SAMPLERS


def check_settings(net) -> None:
    """Raise on parameters that contradict one another, or what is here."""
    resolve_device(net.device)
    if net.lr == "find" and "optimizer__lr" in vars(net):
        raise ValueError(
            f"lr='find' looks for the rate that optimizer__lr="
            f"{vars(net)['optimizer__lr']!r} sets. Pass one of them."
        )
    if net.early_stopping and not net.train_split and not net.validation_fraction:
        raise ValueError(
            "early_stopping=True watches a validation part, and "
            "validation_fraction=0 with train_split=None leaves none. Set "
            "validation_fraction above 0, or pass train_split."
        )
    if net.head_init == "probe" and net.head != "linear":
        raise ValueError(
            f"head_init='probe' solves a linear head, and head={net.head!r}. Pass "
            "head_init='random' with a head of your own."
        )
    sampler = SAMPLERS & set(net.get_params_for("iterator_train"))
    if sampler and net.early_stopping and not net.train_split:
        raise ValueError(
            f"iterator_train__{sampler.pop()} speaks of the rows to train on, and with "
            "early_stopping=True chance holds some of X out. Say which through "
            "train_split."
        )
    variation_of(net.augment)
    _check_callbacks(net)


def _check_callbacks(net) -> None:
    """Raise on callbacks that have nothing to watch, or undo what a parameter does."""
    if net.early_stopping and isinstance(net.callbacks, str):
        raise ValueError(
            f"early_stopping=True works through callbacks, and "
            f"callbacks={net.callbacks!r} turns them off."
        )
    if net.early_stopping and vars(net).get("callbacks__best_epoch", True) is None:
        raise ValueError(
            "early_stopping=True works through the callback best_epoch, and "
            "callbacks__best_epoch=None takes it out."
        )
    own = [] if isinstance(net.callbacks, str) else net.callbacks or []
    own = [item[-1] if isinstance(item, tuple | list) else item for item in own]
    if not net.early_stopping and not net.train_split:
        for callback in own:
            watched = _watched(callback)
            if watched.startswith("valid"):
                raise ValueError(
                    f"The callback {_name(callback)} watches {watched!r}, and "
                    "nothing is held out to validate on. Pass early_stopping=True "
                    "(which needs no callback), train_split=ValidSplit(5), or "
                    "another monitor, such as 'train_loss'."
                )
    scheduler = any(
        isinstance(item, LRScheduler) or item is LRScheduler for item in own
    )
    if scheduler and (net.schedule != "constant" or net.warmup):
        raise ValueError(
            f"The LRScheduler among the callbacks and schedule={net.schedule!r}, "
            f"warmup={net.warmup!r} would both set the learning rates. Pass "
            "schedule='constant', warmup=0, or drop the callback."
        )


def _watched(callback) -> str:
    """Return the measure that a callback monitors; by default if it is a class."""
    monitor = getattr(callback, "monitor", None)
    if isinstance(callback, type):
        parameters = inspect.signature(callback).parameters
        monitor = parameters["monitor"].default if "monitor" in parameters else None
    return monitor if isinstance(monitor, str) else ""


def _name(callback) -> str:
    kind = callback if isinstance(callback, type) else type(callback)
    return kind.__name__
