"""The engine: rows x frozen part of a network → activations, each computed once.

Everything here works without torch as long as all rows are in the store.
"""

from sktl.engine._activations import activations, images_embedded, row_shape
from sktl.engine._device import resolve_device, resolve_engine
from sktl.engine._frozen_part import FrozenPart

__all__ = [
    "FrozenPart",
    "activations",
    "images_embedded",
    "resolve_device",
    "resolve_engine",
    "row_shape",
]
