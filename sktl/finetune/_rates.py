"""Learning rates: one for each depth, warm-up, and a schedule over the steps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn
from torch.optim import Optimizer


def rate_factor(schedule: str, warmup: float, progress: float) -> float:
    """Return what the learning rates are multiplied by.

    Parameters
    ----------
    schedule : {"constant", "cosine", "onecycle"}
        The shape of the curve.
    warmup : float
        Share of the steps over which the rate rises from near 0 ("onecycle": from
        1/25) to its full value.
    progress : float
        Share of the steps already done, from 0 to below 1.
    """
    if progress < warmup:
        rise = progress / warmup
        if schedule == "onecycle":
            return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * rise)) / 2
        # Never 0: the first step has to teach something.
        return max(rise, 0.01)
    if schedule == "constant":
        return 1.0
    fall = (progress - warmup) / (1 - warmup)
    return (1 + math.cos(math.pi * fall)) / 2


def group_by_depth(
    parameters: Iterable[tuple[int, str, nn.Parameter]],
    lr: float,
    lr_decay: float,
    user_groups: Iterable[tuple[str, dict]] = (),
    exempt_from_decay: bool = True,
) -> list[dict]:
    """Return parameter groups with a rate for each depth.

    Parameters
    ----------
    parameters : iterable of (depth, name, parameter)
        What is trained; depth 0 is the head.
    lr, lr_decay : float
        Depth d learns at ``lr * lr_decay**d``.
    user_groups : iterable of (pattern, dict)
        skorch's ``optimizer__param_groups``: parameters whose name matches get the
        entries of the dict, the first match wins. Unless these set ``lr``, each depth
        keeps its own rate.
    exempt_from_decay : bool, default=True
        Whether norms and biases get no weight decay.
    """
    user_groups = [*user_groups, ("*", {})]
    members: dict[tuple[int, int, bool], list] = {}
    for depth, name, parameter in parameters:
        matches = [fnmatchcase(name, pattern) for pattern, _ in user_groups]
        place = matches.index(True)
        # Norms and biases are vectors, weights have two or more dimensions.
        free = exempt_from_decay and parameter.ndim < 2
        members.setdefault((place, depth, free), []).append(parameter)
    matched = {place for place, _, _ in members}
    for place, (pattern, _) in enumerate(user_groups[:-1]):
        if place not in matched:
            raise ValueError(
                f"optimizer__param_groups: {pattern!r} matches no trained parameter, "
                "or only such as an earlier pattern took. "
                "dict(net.module_.named_parameters()) lists their names."
            )
    groups = []
    for (place, depth, free), parameters_ in sorted(members.items()):
        group = {"params": parameters_, "lr": lr * lr_decay**depth, "depth": depth}
        if free:
            group["weight_decay"] = 0.0
        entries = user_groups[place][1]
        groups.append({**group, **entries, "own_rate": "lr" in entries})
    return groups


def set_rates(optimizer: Optimizer, lr: float, lr_decay: float) -> None:
    """Give each group the rate of its depth, except where the user set one."""
    for group in optimizer.param_groups:
        if not group["own_rate"]:
            group["lr"] = lr * lr_decay ** group["depth"]
            if "full_lr" in group:  # a schedule goes by it
                group["full_lr"] = group["lr"]


def restore_rates(optimizer: Optimizer) -> None:
    """Put the full rates back into an optimiser whose state was saved in between."""
    for group in optimizer.param_groups:
        group["lr"] = group.get("full_lr", group["lr"])


def remember_rates(optimizer: Optimizer) -> None:
    """Note the full rate of each group, for the schedule to multiply."""
    for group in optimizer.param_groups:
        group["full_lr"] = group["lr"]


def scale_rates(optimizer: Optimizer, factor: float) -> None:
    """Set each group's rate to ``factor`` times its full one."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"] * factor
