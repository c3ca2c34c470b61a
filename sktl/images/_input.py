"""``read_images``: X as an estimator gets it → rows of images."""

from __future__ import annotations

from sklearn.utils.validation import validate_data

from sktl.images._rows import ImageRows
from sktl.images._tables import is_flat


def read_images(estimator, X, *, reset: bool) -> ImageRows:
    """Read X as images; a table also goes through scikit-learn's own checks.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose ``image_shape`` applies, and whose ``n_features_in_`` and
        ``feature_names_in_`` are learned or checked.
    X : array-like of images
        What the user passed.
    reset : bool
        Whether this is ``fit``, which learns those attributes.
    """
    if is_flat(X):
        X = validate_data(estimator, X, reset=reset, dtype="numeric")
    elif hasattr(X, "columns"):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    elif reset:
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
    return ImageRows.of(X, image_shape=estimator.image_shape)
