"""Images on disk as scikit-learn's ``Bunch``."""

from sktl.datasets._image_folder import list_images, load_image_folder

__all__ = ["list_images", "load_image_folder"]
