"""Training rows: as a weighted set where equal ones count once, or in their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sktl.exceptions import UnreadableImageError
from sktl.images import ImageRows


@dataclass
class TrainingRows:
    """Images with their targets, weights and groups.

    ``counts`` says how often a row occurs, ``weight`` what it weighs in the loss: of
    mean 1, class weights included. ``same_image`` numbers the images, the same number
    for equal ones.
    """

    images: ImageRows
    y: np.ndarray
    counts: np.ndarray
    groups: np.ndarray | None
    weight: np.ndarray
    same_image: np.ndarray

    def take(self, positions: np.ndarray) -> TrainingRows:
        """Return some of the rows."""
        return TrainingRows(
            self.images.take(positions),
            self.y[positions],
            self.counts[positions],
            None if self.groups is None else self.groups[positions],
            self.weight[positions],
            self.same_image[positions],
        )

    def __len__(self) -> int:
        return len(self.y)


def distinct_rows(
    images: ImageRows,
    y: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray | None = None,
) -> TrainingRows:
    """Return each distinct (image, target, group) once, with the sum of its weights.

    A row that occurs k times and a row of weight k are the same thing here, rows of
    weight 0 are gone, and the order is that of the fingerprints. So training gives the
    same network for a bootstrap sample as for the weights that stand for it, whatever
    the order of X.
    """
    check_weight(weight)
    kept = np.flatnonzero(weight > 0)
    prints = [_identity(images, i) for i in kept]
    labels = np.ascontiguousarray(y[kept].reshape(len(kept), -1))
    columns = [labels.view(f"V{labels.itemsize * labels.shape[1]}").ravel()]
    if groups is not None:
        codes = np.unique(groups[kept], return_inverse=True)[1]
        columns.append(codes.astype(np.int64).view("V8"))
    keys = np.array(
        [b"".join(map(bytes, key)) for key in zip(prints, *columns, strict=True)],
        dtype=object,
    )
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rows = kept[first]
    counts = np.bincount(inverse, weights=weight[kept], minlength=len(rows))
    return TrainingRows(
        images.take(rows),
        y[rows],
        counts,
        None if groups is None else groups[rows],
        counts,
        np.unique(np.array(prints, dtype=object)[first], return_inverse=True)[1],
    )


def rows_in_order(
    images: ImageRows,
    y: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray | None = None,
) -> TrainingRows:
    """Return the rows as they are, for samplers that speak of their positions."""
    check_weight(weight)
    prints = np.array([_identity(images, i) for i in range(len(y))], dtype=object)
    same_image = np.unique(prints, return_inverse=True)[1]
    return TrainingRows(images, y, weight, groups, weight, same_image)


def check_weight(weight: np.ndarray) -> None:
    """Raise if no row of a part counts."""
    if not weight.any():
        raise ValueError(
            "All rows to train on, or all rows to validate on, have weight 0 by "
            "sample_weight or class_weight, or there are none."
        )


def _identity(images: ImageRows, i: int) -> bytes:
    """Return the fingerprint of a row; an unreadable one is like no other."""
    try:
        return images.fingerprint(i)
    except UnreadableImageError:
        # The engine reads all rows and names every unreadable one.
        return b"unreadable" + int(i).to_bytes(8, "big")
