"""The weights of classes, for the probe and for fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

import numpy as np


def check_class_weight(class_weight, classes: np.ndarray, y: np.ndarray) -> None:
    """Raise if ``class_weight`` does not suit the targets of the rows that count."""
    if class_weight is not None and y.ndim > 1:
        raise ValueError(
            "class_weight applies to one label per image, and y is an indicator "
            "matrix. Pass sample_weight instead."
        )
    if not isinstance(class_weight, Mapping):
        return
    known, labels = classes.tolist(), classes[np.unique(y)].tolist()
    unknown = [key for key in class_weight if key not in known]
    if unknown and any(label not in class_weight for label in labels):
        raise ValueError(
            f"class_weight has weights for {unknown}, which are not among the "
            f"classes, {known}."
        )
    weights = [class_weight.get(label, 1.0) for label in labels]
    valid = all(isinstance(w, Real) and 0 <= float(w) < np.inf for w in weights)
    if not valid or not any(weights):
        raise ValueError(
            f"class_weight={dict(class_weight)!r}: weights have to be finite, not "
            "negative, and above 0 for at least one class in y."
        )


def class_factors(
    class_weight, classes: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return what ``class_weight`` multiplies the weight of a row of each class by."""
    if isinstance(class_weight, Mapping):
        return np.array([class_weight.get(label, 1.0) for label in classes], float)
    total = np.bincount(y, weights=weight, minlength=len(classes))
    present = total > 0
    factor = np.zeros(len(classes))
    factor[present] = total.sum() / (present.sum() * total[present])
    return factor
