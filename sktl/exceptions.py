"""The errors and warnings of sktl, one class for each kind of fix.

Every error is also the builtin that a caller would expect (``ValueError``,
``OSError``, ``ImportError``), so code that does not know sktl can catch it too.
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
    """X cannot be read as a collection of images."""


class UnreadableImageError(ImageInputError):
    """One or more rows of X hold no readable image."""


class ValueRangeError(ImageInputError):
    """The pixel values of X are on another scale than those seen in ``fit``."""


class BackboneNotFoundError(SktlError, ValueError):
    """No backbone has this name."""


class StageNotFoundError(SktlError, ValueError):
    """A stage name or pattern matches no stage of the backbone."""


class WeightsUnavailableError(SktlError, OSError):
    """The weights of a backbone are not on this machine and cannot be downloaded."""


class WeightsMismatchError(SktlError, ValueError):
    """A weights file does not belong to the backbone, or was altered."""


class ActivationMapError(SktlError, ValueError):
    """The scores of an estimator are not a sum over image positions."""


class ModelFileError(SktlError, ValueError):
    """A file is not a model file, or is damaged, altered or of another version."""


class UnstorableModelError(SktlError, TypeError):
    """A model contains code, which a model file cannot hold."""


class MissingExtraError(SktlError, ImportError):
    """An optional dependency is needed but not installed."""


class CompilationError(SktlError, RuntimeError):
    """``engine="compile"`` is set, and torch.compile cannot compile the network."""


class UnreadableImageWarning(UserWarning):
    """Rows without a readable image became NaN because of ``on_error="nan"``."""


class DataConversionWarning(UserWarning):
    """X was read in a way that you may not have meant."""


class DuplicateImagesWarning(UserWarning):
    """Copies of an image inflate a score, or have different labels."""


class CacheWarning(UserWarning):
    """The embedding store cannot be used; results are right but not kept."""


class ModelFileWarning(UserWarning):
    """A model file does not hold the whole model, or may not restore it exactly."""
