"""Muon: momentum whose updates are orthogonalised, for convolution filters."""

from __future__ import annotations

import torch


def orthogonalise(gradient: torch.Tensor, steps: int = 4) -> torch.Tensor:
    """Return roughly the nearest semi-orthogonal matrix (Newton-Schulz)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = gradient.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates of matrices (filters are flattened).

    Parameters
    ----------
    params : iterable of Parameter
        Weights of two or more dimensions.
    lr : float, default=0.01
        Step size, in the same units as for AdamW: the update is scaled to the root mean
        square of AdamW's (0.2).
    momentum : float, default=0.9
        Nesterov momentum.
    weight_decay : float, default=0.0
        Decoupled decay.

    References
    ----------
    .. [1] K. Jordan et al., "Muon: an optimizer for hidden layers", 2024.
    .. [2] J. Liu et al., "Muon is scalable for LLM training", 2025.
    """

    def __init__(self, params, lr=0.01, momentum=0.9, weight_decay=0.0):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """Take one step."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                buffer = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buffer, group["momentum"]).flatten(1)
                update = orthogonalise(update)
                scale = 0.2 * max(update.shape) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view(p.shape), alpha=-group["lr"] * scale)
