"""Whatever the user holds, as rows of pixels: read, identified, scaled, prepared.

Nothing here needs torch, except preparing pixels for a network.
"""

from sktl.images._reading import is_flat
from sktl.images._recipe import Recipe
from sktl.images._rows import ImageRows, read_images
from sktl.images._value_range import check_value_range, learn_value_range

# Imported as themselves: for the estimators, not part of the public API.
from sktl.images._views import AnyVariation as AnyVariation
from sktl.images._views import ViewRows as ViewRows
from sktl.images._views import Views as Views
from sktl.images._views import as_floats as as_floats
from sktl.images._views import variation_of as variation_of

__all__ = [
    "ImageRows",
    "Recipe",
    "check_value_range",
    "is_flat",
    "learn_value_range",
    "read_images",
]
