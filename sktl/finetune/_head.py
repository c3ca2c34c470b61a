"""The head: what turns embeddings into logits or targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn


def make_head(
    head: str | Callable[[int, int], nn.Module], n_features: int, n_outputs: int
) -> nn.Module:
    """Return a new head, drawn from torch's random state."""
    if head == "linear":
        return nn.Linear(n_features, n_outputs)
    module = head(n_features, n_outputs)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"head={head!r} returned {type(module).__name__}. A head is a callable "
            "(n_features, n_outputs) -> torch.nn.Module."
        )
    return module


@torch.no_grad()
def fill_head(head: nn.Linear, coef: np.ndarray, intercept: np.ndarray) -> None:
    """Copy weights and biases into a linear layer."""
    head.weight.copy_(torch.from_numpy(np.ascontiguousarray(coef)))
    head.bias.copy_(torch.from_numpy(np.ascontiguousarray(intercept)))
