"""Write a trained network as safetensors with its origin in the header."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


def export_weights(
    net: nn.Module, path: str | Path, *, dtype: torch.dtype, **metadata: str
) -> str:
    """Save the weights of ``net`` and return the SHA-256 of the file.

    Parameters
    ----------
    net : torch.nn.Module
        The network, head included.
    path : str or Path
        Where to write.
    dtype : torch.dtype
        Floating type of the stored weights.
    **metadata : str
        Entries of the header; the date is added.

    Returns
    -------
    str
        The SHA-256 in hexadecimal digits.
    """
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in net.state_dict().items()
        # The number of batches seen is not a weight: inference never reads it.
        if not name.endswith("num_batches_tracked")
    }
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={**metadata, "date": date})
    path.chmod(0o644)  # safetensors makes it readable by its owner only
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path.name}: {path.stat().st_size} bytes, sha256 {digest}")
    return digest
