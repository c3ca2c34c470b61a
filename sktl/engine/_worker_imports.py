"""Keeps workers that find every row in the store from importing torch."""

from __future__ import annotations

import sys
import warnings


def spare_workers_of_torch() -> None:
    """Drop torch's own warning filters, by which every worker would import torch.

    scikit-learn sends the filters of this process to its workers, and torch adds one
    for a warning class of its own (TracerWarning, of torch.jit): to unpickle it, each
    worker imports torch, for 4 to 7 s and 0.9 GB (scikit-learn 1.9, torch 2.15).
    """
    if "torch" not in sys.modules:
        return
    for found in list(warnings.filters):
        if found[2].__module__.partition(".")[0] == "torch":
            warnings.filters.remove(found)
