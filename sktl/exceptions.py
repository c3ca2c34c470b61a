"""The errors and warnings of sktl, one class for each way to fix the problem.

Every error is also the builtin that a caller would expect (``ValueError``,
``OSError``, ``ImportError``), so code that does not know sktl catches it too.
"""

__all__ = [
    "ActivationMapError",
    "BackboneNotFoundError",
    "CacheWarning",
    "CompilationError",
    "DataConversionWarning",
    "DuplicateImagesWarning",
    "ImageInputError",
    "MissingExtraError",
    "ModelFileError",
    "ModelFileWarning",
    "SktlError",
    "StageNotFoundError",
    "UnreadableImageError",
    "UnreadableImageWarning",
    "UnstorableModelError",
    "ValueRangeError",
    "WeightsMismatchError",
    "WeightsUnavailableError",
]


class SktlError(Exception):
    """Base of all errors raised by sktl."""


class ImageInputError(SktlError, ValueError):
    """X is not a collection of images."""


class UnreadableImageError(ImageInputError):
    """One or more images in X cannot be read."""


class ValueRangeError(ImageInputError):
    """The pixels of X are on a different scale from those seen in ``fit``."""


class BackboneNotFoundError(SktlError, ValueError):
    """There is no backbone with this name."""


class StageNotFoundError(SktlError, ValueError):
    """A stage name or pattern matches no stage of the backbone."""


class WeightsUnavailableError(SktlError, OSError):
    """The weights of a backbone are not on this machine and cannot be downloaded."""


class WeightsMismatchError(SktlError, ValueError):
    """A weights file belongs to another backbone, or has changed."""


class ActivationMapError(SktlError, ValueError):
    """The scores of an estimator are not a sum over image positions."""


class ModelFileError(SktlError, ValueError):
    """A file is not a model file, is damaged, or has an unsupported format version."""


class UnstorableModelError(SktlError, TypeError):
    """A model contains code of its own, which a model file cannot hold."""


class MissingExtraError(SktlError, ImportError):
    """An optional dependency is needed but not installed."""


class CompilationError(SktlError, RuntimeError):
    """``torch.compile``, used by ``engine="compile"``, cannot compile the network."""


class UnreadableImageWarning(UserWarning):
    """Images could not be read, and ``on_error="nan"`` made their rows NaN."""


class DataConversionWarning(UserWarning):
    """X was read in a way that may not be what you meant."""


class DuplicateImagesWarning(UserWarning):
    """Copies of an image inflate a score, or have different labels."""


class CacheWarning(UserWarning):
    """The embedding store cannot be used; results are correct but not reused."""


class ModelFileWarning(UserWarning):
    """A model file leaves something out, or may not restore it exactly."""
