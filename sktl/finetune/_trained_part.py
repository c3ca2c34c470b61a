"""``TrainedPart``: the stages behind the cut and the head, as one torch module."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn


class TrainedPart(nn.Module):
    """What fine-tuning trains: activations at the cut in, logits or targets out.

    The stages behind the cut become part of it: pass copies. Those not in ``trained``
    stay in evaluation mode, whatever ``train`` says. With ``keep_statistics``,
    BatchNorm layers of trained stages keep the mean and variance they came with; their
    scale and shift are trained in any case. ``facts`` is what predictions need besides
    the weights, such as the classes: plain values, saved and loaded with them.
    """

    def __init__(
        self,
        stages: dict[str, nn.Module],
        trained: tuple[str, ...],
        head: nn.Module,
        keep_statistics: bool,
    ):
        super().__init__()
        self.keep_statistics = keep_statistics
        self.stages = nn.ModuleDict(stages)
        self.head = head
        self.trained = tuple(trained)
        self.facts: dict = {}
        self.open_stages(self.trained)

    def get_extra_state(self) -> Tensor:
        """Return the facts as bytes of JSON (torch's hook for ``state_dict``)."""
        # Dates become text, which numpy reads as dates again.
        text = json.dumps(self.facts, default=str)
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Read the facts back (torch's hook for ``load_state_dict``)."""
        self.facts = facts_in({"_extra_state": state})

    def open_stages(self, names: Iterable[str]) -> None:
        """Let the stages called ``names`` learn, and freeze all others."""
        self.open = frozenset(names)
        for name, stage in self.stages.items():
            stage.requires_grad_(name in self.open)
        self._set_mode(self.training)

    def train(self, mode: bool = True) -> TrainedPart:
        """Set training mode on the head and the open stages; the rest stay frozen."""
        # skorch calls this before every batch; walking through all modules each time
        # took a quarter of the time of a linear head's step.
        if mode is not self.training:
            self._set_mode(mode)
        return self

    def _set_mode(self, mode: bool) -> None:
        # A frozen BatchNorm in training mode would drift: measured in a plain skorch
        # net with frozen parameters, running_mean moved by 0.32 in two epochs.
        super().train(mode)
        for name, stage in self.stages.items():
            if name not in self.open:
                stage.eval()
            elif self.keep_statistics:
                for part in stage.modules():
                    if isinstance(part, nn.modules.batchnorm._BatchNorm):
                        part.eval()

    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings that the head sees, ``(n, n_features)``."""
        for stage in self.stages.values():
            x = stage(x)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for activations at the cut."""
        return self.head(self.embed(x))

    def rowwise(self, x: Tensor) -> Tensor:
        """Return the outputs on a CPU; those of a row do not depend on its batch.

        Kernels are chosen by the size of a batch and differ in the last bits.
        """
        # As in the engine, 8 rows: few enough to pad a single one, and for the cache.
        embeddings = _in_equal_batches(self.embed, x, 8)
        # Below 16 rows, a matrix of 3 columns gives a row other bits by its position.
        return _in_equal_batches(self.head, embeddings, 16)

    def parameter_groups(
        self,
        lr: float,
        lr_decay: float,
        user_groups: Iterable[tuple[str, dict]] = (),
        exempt_from_decay: bool = True,
    ) -> list[dict]:
        """Return the optimizer's parameter groups, with a learning rate for each depth.

        Depth d learns at ``lr * lr_decay**d``; the head has depth 0, the last trained
        stage depth 1. ``user_groups`` are skorch's ``optimizer__param_groups``: a
        parameter takes the entries of the first pattern that matches its name, and
        keeps the rate of its depth unless they set ``lr``. Norms and biases get no
        weight decay if ``exempt_from_decay``.
        """
        user_groups = [*user_groups, ("*", {})]
        depths = {name: 1 + i for i, name in enumerate(reversed(self.trained))}
        members: dict[tuple[int, int, bool], list] = {}
        for name, parameter in self.named_parameters():
            first, _, rest = name.partition(".")
            depth = 0 if first == "head" else depths.get(rest.partition(".")[0])
            if depth is None:  # frozen behind the cut
                continue
            matches = [fnmatchcase(name, pattern) for pattern, _ in user_groups]
            # Norms and biases are vectors, weights have two or more dimensions.
            exempt = exempt_from_decay and parameter.ndim < 2
            key = (matches.index(True), depth, exempt)
            members.setdefault(key, []).append(parameter)
        matched = {place for place, _, _ in members}
        for place, (pattern, _) in enumerate(user_groups[:-1]):
            if place not in matched:
                raise ValueError(
                    f"optimizer__param_groups: {pattern!r} matches no trained "
                    "parameter, or only ones that an earlier pattern matched. "
                    "dict(net.module_.named_parameters()) lists their names."
                )
        groups = []
        for (place, depth, exempt), parameters in sorted(
            members.items(), key=lambda item: item[0]
        ):
            group = {"params": parameters, "lr": lr * lr_decay**depth, "depth": depth}
            if exempt:
                group["weight_decay"] = 0.0
            groups.append({**group, **user_groups[place][1]})
        return groups


def facts_in(state_dict: Mapping[str, Tensor]) -> dict:
    """Return the facts that were saved with weights."""
    return json.loads(bytes(state_dict["_extra_state"].tolist()))


def _in_equal_batches(
    function: Callable[[Tensor], Tensor], x: Tensor, size: int
) -> Tensor:
    """Apply a function to batches of one size, the last one padded with zeros."""
    outputs = []
    for rows in x.split(size):
        filled = torch.cat([rows, rows.new_zeros(size - len(rows), *rows.shape[1:])])
        outputs.append(function(filled)[: len(rows)])
    return torch.cat(outputs)


class ScaledOutput(nn.Module):
    """A head whose outputs are in the units of the targets.

    The layer inside works on targets of mean 0 and spread 1, so that one learning
    rate suits house prices and angles alike.
    """

    def __init__(self, head: nn.Module, mean: Tensor, spread: Tensor):
        super().__init__()
        self.head = head
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)

    def forward(self, x: Tensor) -> Tensor:
        """Return targets in their own units."""
        return self.head(x) * self.spread + self.mean


def make_head(
    head: str | Callable[[int, int], nn.Module], n_features: int, n_outputs: int
) -> nn.Module:
    """Return a new head, drawn from torch's random state."""
    if isinstance(head, str):  # "linear"
        return nn.Linear(n_features, n_outputs)
    module = head(n_features, n_outputs)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"head={head!r} returned {type(module).__name__}. A head is a callable "
            "(n_features, n_outputs) -> torch.nn.Module."
        )
    return module


@torch.no_grad()
def fill_head(head, coef: np.ndarray, intercept: np.ndarray) -> None:
    """Copy weights and biases into a linear layer."""
    head.weight.copy_(torch.from_numpy(np.ascontiguousarray(coef)))
    head.bias.copy_(torch.from_numpy(np.ascontiguousarray(intercept)))
