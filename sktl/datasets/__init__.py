"""Images on disk as scikit-learn's ``Bunch``, and images drawn to try things on."""

from sktl.datasets._image_folder import list_images, load_image_folder
from sktl.datasets._shapes import make_shapes

__all__ = ["list_images", "load_image_folder", "make_shapes"]
