"""The errors and warnings that sktl raises, one class for each way to mend them.

Every error is also the builtin that a caller would expect (``ValueError``,
``OSError``, ``ImportError``), so code that knows nothing of sktl catches it too.
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
    """The weights of a backbone are not on this machine and cannot be fetched."""


class WeightsMismatchError(SktlError, ValueError):
    """A weights file does not belong to the backbone, or was altered."""


class ActivationMapError(SktlError, ValueError):
    """The scores of an estimator are no sum over places in the image."""


class ModelFileError(SktlError, ValueError):
    """A model file is foreign, damaged, altered, or of another format version."""


class UnstorableModelError(SktlError, TypeError):
    """A model holds what a model file cannot hold, because it would be code."""


class MissingExtraError(SktlError, ImportError):
    """An optional dependency is needed and not installed."""


class CompilationError(SktlError, RuntimeError):
    """torch.compile, asked for by ``engine="compile"``, cannot build the network."""


class UnreadableImageWarning(UserWarning):
    """Rows without a readable image became NaN because of ``on_error="nan"``."""


class DataConversionWarning(UserWarning):
    """X was read in a way that its owner may not have meant."""


class DuplicateImagesWarning(UserWarning):
    """Copies of an image flatter a score, or carry different labels."""


class CacheWarning(UserWarning):
    """The embedding store cannot be used; results are right but are recomputed."""


class ModelFileWarning(UserWarning):
    """A model file does not hold, or may not give back, all that was there."""
