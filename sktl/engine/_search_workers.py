"""Save the worker processes of a parallel search from needless work."""

from __future__ import annotations

import sys
import warnings
from typing import cast

from sktl.store import is_worker

_advised = False


def advise_to_prime(device: str) -> None:
    """Warn once in a worker that is about to load its own network onto a GPU."""
    global _advised
    if device == "cpu" or _advised or not is_worker():
        return
    _advised = True
    warnings.warn(
        f"Each worker of this parallel search loads the network onto {device!r}, where "
        "they wait for each other. Call sktl.model_selection.prime(search, X, y) "
        "before search.fit(X, y): it embeds everything once in the main process, and "
        "the workers only read.",
        RuntimeWarning,
        stacklevel=2,
    )


def spare_workers_of_torch() -> None:
    """Drop torch's warning filters, which make every worker import torch.

    scikit-learn sends the filters of this process to its workers, and torch adds one
    for its own class TracerWarning (of torch.jit). To unpickle it, each worker imports
    torch, which takes 4 to 7 s and 0.9 GB (scikit-learn 1.9, torch 2.15).
    """
    if "torch" not in sys.modules:
        return
    for found in list(warnings.filters):
        # A filter for several classes at once (scikit-learn 1.6 sets some) has a tuple.
        if getattr(found[2], "__module__", "").partition(".")[0] == "torch":
            cast(list, warnings.filters).remove(found)
