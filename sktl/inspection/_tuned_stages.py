"""What the stages of a fine-tuned estimator return, and its head as a function."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch

from sktl.images import ImageRows


def outputs_of_stages(net, images: ImageRows) -> dict[str, np.ndarray]:
    """Return the outputs of the stages behind the cut, by name."""
    parts: dict[str, list] = {name: [] for name in net.module_.stages}
    handles = []
    for name, stage in net.module_.stages.items():

        def keep(module, inputs, output, name=name):
            parts[name].append(output.detach().float().cpu().numpy())

        handles.append(stage.register_forward_hook(keep))
    try:
        for _ in net.forward_iter(images):
            pass
    finally:
        for handle in handles:
            handle.remove()
    return {name: np.concatenate(outputs) for name, outputs in parts.items()}


def head_of(net) -> Callable[[np.ndarray], np.ndarray]:
    """Return the head as a function of embeddings, in double precision."""
    head = copy.deepcopy(net.module_.head).cpu().double().eval()

    @torch.no_grad()
    def outputs(embeddings: np.ndarray) -> np.ndarray:
        return head(torch.from_numpy(np.asarray(embeddings, dtype=np.float64))).numpy()

    return outputs
