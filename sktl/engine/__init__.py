"""The engine (rows x frozen part to activations) and the store in front of it.

Everything here works without torch as long as all rows are in the store.
"""

from sktl.engine._activations import activations, images_embedded
from sktl.engine._device import resolve_device, resolve_engine
from sktl.engine._part import FrozenPart
from sktl.engine._store import EmbeddingStore

__all__ = [
    "EmbeddingStore",
    "FrozenPart",
    "activations",
    "images_embedded",
    "resolve_device",
    "resolve_engine",
]
