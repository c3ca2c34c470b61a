"""``TrainedPart``: the stages behind the cut and the head, as one torch module."""

from __future__ import annotations

import json
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class TrainedPart(nn.Module):
    """What fine-tuning trains: activations at the cut in, logits or targets out.

    Parameters
    ----------
    stages : dict of str to nn.Module
        The stages behind the cut, in order. They become part of this module: pass
        copies.
    trained : tuple of str
        The stages whose parameters, BatchNorm statistics and dropout are live. The
        others stay in evaluation mode whatever ``train`` is told.
    head : nn.Module
        From embeddings ``(n, n_features)`` to outputs ``(n, n_outputs)``.
    keep_statistics : bool
        Whether BatchNorm layers that learn keep the mean and variance that they came
        with. Their scale and shift are trained in any case.

    Attributes
    ----------
    facts : dict
        What else predictions need to know, such as the classes: plain values, saved and
        loaded with the weights.
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
        """Return what the weights alone do not say (torch's hook), as bytes of JSON."""
        # Dates become text, which numpy reads as dates again.
        text = json.dumps(self.facts, default=str)
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over what saved weights say of themselves (torch's hook)."""
        self.facts = json.loads(bytes(state.tolist()))

    def open_stages(self, names: tuple[str, ...]) -> None:
        """Let the stages called ``names`` learn, and freeze all others."""
        self.open = frozenset(names)
        for name, stage in self.stages.items():
            stage.requires_grad_(name in self.open)
        self.train(self.training)

    def train(self, mode: bool = True) -> TrainedPart:
        """Set training mode on the head and the open stages; the rest stay frozen."""
        # A frozen BatchNorm in training mode would drift: measured in a plain skorch
        # net with frozen parameters, running_mean moved by 0.32 in two epochs.
        super().train(mode)
        for name, stage in self.stages.items():
            if name not in self.open:
                stage.eval()
            elif self.keep_statistics:
                rest_batch_norms(stage)
        return self

    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings that the head sees, ``(n, n_features)``."""
        for stage in self.stages.values():
            x = stage(x)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for activations at the cut."""
        return self.head(self.embed(x))

    def by_depth(self) -> Iterator[tuple[int, str, nn.Parameter]]:
        """Yield ``(depth, name, parameter)``: depth 0 is the head, 1 below it, ..."""
        depth = {name: 1 + i for i, name in enumerate(reversed(self.trained))}
        for name, parameter in self.named_parameters():
            first, _, rest = name.partition(".")
            if first == "head":
                yield 0, name, parameter
            elif (stage := rest.partition(".")[0]) in depth:
                yield depth[stage], name, parameter


def rest_batch_norms(module: nn.Module) -> None:
    """Let all BatchNorm layers use the statistics they have, and leave those alone."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


class ScaledOutput(nn.Module):
    """A head whose outputs come back in the units of the targets.

    The layer inside works on targets of mean 0 and spread 1, so that one learning
    rate suits house prices and angles alike.
    """

    def __init__(self, head: nn.Module, mean: Tensor, spread: Tensor):
        super().__init__()
        self.head = head
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)

    def rescale(self, mean, spread) -> None:
        """Take over the scale of other targets."""
        self.mean.copy_(torch.as_tensor(mean))
        self.spread.copy_(torch.as_tensor(spread))

    def forward(self, x: Tensor) -> Tensor:
        """Return targets in their own units."""
        return self.head(x) * self.spread + self.mean

    def standardise(self, y: Tensor) -> Tensor:
        """Return targets on the scale on which the loss is measured."""
        return (y - self.mean) / self.spread
