"""Images on disk as scikit-learn's ``Bunch``."""

from sktl.datasets._image_folder import load_image_folder

__all__ = ["load_image_folder"]
