"""Whatever the user holds, as rows of pixels: read, identified, scaled, prepared.

Nothing here needs torch, except preparing pixels for a network.
"""

from sktl.images._reading import is_flat
from sktl.images._recipe import Recipe
from sktl.images._rows import ImageRows, read_images
from sktl.images._value_range import check_value_range, learn_value_range

__all__ = [
    "ImageRows",
    "Recipe",
    "check_value_range",
    "is_flat",
    "learn_value_range",
    "read_images",
]
