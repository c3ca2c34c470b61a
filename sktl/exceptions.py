"""The errors and warnings that sktl raises, one class for each way to mend them.

Every error is also the builtin that a caller would expect (``ValueError``,
``OSError``, ``ImportError``), so code that knows nothing of sktl catches it too.
"""

__all__ = [
    "BackboneNotFoundError",
    "CacheWarning",
    "DataConversionWarning",
    "ImageInputError",
    "MissingExtraError",
    "SktlError",
    "StageNotFoundError",
    "UnreadableImageError",
    "UnreadableImageWarning",
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


class MissingExtraError(SktlError, ImportError):
    """An optional dependency is needed and not installed."""


class UnreadableImageWarning(UserWarning):
    """Rows without a readable image became NaN because of ``on_error="nan"``."""


class DataConversionWarning(UserWarning):
    """X was read in a way that its owner may not have meant."""


class CacheWarning(UserWarning):
    """The embedding store cannot be used; results are right but are recomputed."""
