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
        entries of the dict, the first match wins.
    exempt_from_decay : bool, default=True
        Whether norms and biases get no weight decay.
    """
    user_groups = list(user_groups)
    named: list[list] = [[] for _ in user_groups]
    others: dict[tuple[int, bool], list] = {}
    for depth, name, parameter in parameters:
        for members, (pattern, _) in zip(named, user_groups, strict=True):
            if fnmatchcase(name, pattern):
                members.append((depth, parameter))
                break
        else:
            # Norms and biases are vectors, weights have two or more dimensions.
            free = exempt_from_decay and parameter.ndim < 2
            others.setdefault((depth, free), []).append(parameter)
    groups = []
    for members, (pattern, entries) in zip(named, user_groups, strict=True):
        if not members:
            raise ValueError(
                f"optimizer__param_groups: {pattern!r} matches no trained parameter. "
                "dict(net.module_.named_parameters()) lists their names."
            )
        # A group of the user's own keeps the rates of its depths unless it sets one.
        depth = min(depth for depth, _ in members)
        group = {"lr": lr * lr_decay**depth, "depth": depth, **entries}
        groups.append({"params": [p for _, p in members], **group})
    for (depth, free), members in sorted(others.items(), key=lambda item: item[0]):
        group = {"params": members, "lr": lr * lr_decay**depth, "depth": depth}
        groups.append({**group, "weight_decay": 0.0} if free else group)
    return groups


def remember_rates(optimizer: Optimizer) -> None:
    """Note the full rate of each group, for the schedule to multiply."""
    for group in optimizer.param_groups:
        group["full_lr"] = group["lr"]


def scale_rates(optimizer: Optimizer, factor: float) -> None:
    """Set each group's rate to ``factor`` times its full one."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"] * factor
