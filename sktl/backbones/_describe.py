"""Read the facts of a network off the network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from sktl.backbones._staged import StagedNetwork


def describe(network: StagedNetwork, size: tuple[int, int], channels: int = 3) -> dict:
    """Return stages, widths, embedding size, parameters and multiply-adds.

    Works on the meta device, where it costs no arithmetic; anything else runs one
    black image.
    """
    network.requires_grad_(False)  # the counter would look for gradients
    device = next(iter(network.parameters()), torch.empty(0)).device
    x = torch.zeros(1, channels, *size, device=device)
    widths = []
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for stage in network.stages.values():
            x = stage(x)
            widths.append(network.as_map(x).shape[1])
    return {
        "stages": list(network.stages),
        "widths": widths,
        "n_features": x.flatten(1).shape[1],
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "gflops": float(f"{counter.get_total_flops() / 2e9:.4g}"),
    }
