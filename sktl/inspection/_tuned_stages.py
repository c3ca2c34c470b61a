"""What the stages of a fine-tuned estimator return, and its head as a function."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch

from sktl.images import ImageRows


def outputs_of_stages(net, images: ImageRows) -> dict[str, np.ndarray]:
    """Return the outputs of the stages behind the cut, by name."""

    def watch(keep):
        return [
            stage.register_forward_hook(
                lambda module, inputs, output, name=name: keep(name, output)
            )
            for name, stage in net.module_.stages.items()
        ]

    return _recorded(net, images, watch)


def inputs_of_head(net, X) -> np.ndarray:
    """Return what reaches the head."""

    def watch(keep):
        head = net.module_.head
        return [
            head.register_forward_pre_hook(
                lambda module, inputs: keep("head", inputs[0])
            )
        ]

    return _recorded(net, X, watch)["head"]


def _recorded(net, X, watch: Callable) -> dict[str, np.ndarray]:
    """Return what the hooks that ``watch`` sets keep while ``net`` sees X, by name."""
    parts: dict[str, list] = {}
    kept: dict[str, list] = {}

    def keep(name, tensor):
        parts.setdefault(name, []).append(tensor.detach().float().cpu().numpy())

    handles = watch(keep)
    try:
        for outputs in net.forward_iter(X):
            for name, batches in parts.items():
                # Batches may have been filled up to equal sizes, at the end.
                rows = np.concatenate(batches)[: len(outputs)]
                kept.setdefault(name, []).append(rows)
            parts.clear()
    finally:
        for handle in handles:
            handle.remove()
    return {name: np.concatenate(rows) for name, rows in kept.items()}


def head_of(net) -> Callable[[np.ndarray], np.ndarray]:
    """Return the head as a function of embeddings, in double precision."""
    head = copy.deepcopy(net.module_.head).cpu().double().eval()

    @torch.no_grad()
    def outputs(embeddings: np.ndarray) -> np.ndarray:
        return head(torch.from_numpy(np.asarray(embeddings, dtype=np.float64))).numpy()

    return outputs
