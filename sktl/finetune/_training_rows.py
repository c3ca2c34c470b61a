"""``TrainingRows``: images with targets and weights, and the part held out of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sktl.exceptions import UnreadableImageError
from sktl.images import ImageRows


@dataclass
class TrainingRows:
    """Distinct images with their targets, weights and groups.

    ``counts`` says how often a row occurs. ``weight`` is its weight in the loss, class
    weights included, with mean 1 over all rows. Rows of the same ``image`` number show
    the same image.
    """

    images: ImageRows
    y: np.ndarray
    counts: np.ndarray
    groups: np.ndarray | None
    weight: np.ndarray
    image: np.ndarray

    def take(self, positions: np.ndarray) -> TrainingRows:
        """Return some of the rows."""
        return TrainingRows(
            self.images.take(positions),
            self.y[positions],
            self.counts[positions],
            None if self.groups is None else self.groups[positions],
            self.weight[positions],
            self.image[positions],
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

    A row that occurs k times counts as a row of weight k, rows of weight 0 are dropped,
    and the order is that of the fingerprints. So training on a bootstrap sample gives
    the same network as training with the equivalent weights, whatever the order of X.
    """
    check_weight(weight)
    kept = np.flatnonzero(weight > 0)
    prints = [_identity(images, int(i)) for i in kept]
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


def check_weight(weight: np.ndarray) -> None:
    """Raise if all rows have weight 0, or there are none."""
    if not weight.any():
        raise ValueError(
            "All rows to train on, or all rows to validate on, have weight 0 by "
            "sample_weight or class_weight, or there are none."
        )


def _identity(images: ImageRows, i: int) -> bytes:
    """Return the fingerprint of a row; each unreadable one gets its own."""
    try:
        return images.fingerprint(i)
    except UnreadableImageError:
        # The engine reads all rows and names every unreadable one.
        return b"unreadable" + i.to_bytes(8, "big")


def hold_out(
    units: np.ndarray, strata: np.ndarray | None, fraction: float, seed: int
) -> np.ndarray:
    """Return the positions of held-out rows: whole units, classes in proportion.

    Rows of one unit (one image, one group) stay together. Units are drawn in random
    order. A unit is held out if none of its classes then gives more than its share of
    rows, and every class keeps a row to train on.
    """
    classes = np.zeros(len(units), dtype=int) if strata is None else strata
    classes = np.unique(classes, return_inverse=True)[1]
    units = np.unique(units, return_inverse=True)[1]
    total = np.bincount(classes)
    quota, held = _quota(total, fraction), np.zeros_like(total)
    ends = np.cumsum(np.bincount(units))
    rows_of = np.split(np.argsort(units, kind="stable"), ends[:-1])
    order = np.random.default_rng(seed).permutation(len(ends))
    chosen = np.zeros(len(ends), dtype=bool)
    for slack in (0, np.inf):  # a second round if no unit fits into its share
        for unit in order:
            present, counts = np.unique(classes[rows_of[unit]], return_counts=True)
            after = held[present] + counts
            fits = (after <= quota[present] + slack).all()
            if fits and (after < total[present]).all():
                held[present], chosen[unit] = after, True
                if slack or (held >= quota).all():
                    break
        if chosen.any():
            break
    if not chosen.any():
        raise ValueError(
            f"early_stopping=True holds out validation_fraction={fraction} of the "
            f"images, and n_samples={len(units)} leave none to spare: every class "
            "needs an image, and a group, to train on. Pass early_stopping=False, or "
            "validation data through train_split."
        )
    return np.flatnonzero(chosen[units])


def _quota(total: np.ndarray, fraction: float) -> np.ndarray:
    """Return how many rows of each class to hold out: in proportion, at least 1 in all.

    What rounding down leaves over goes to the largest remainders.
    """
    wanted = max(1, round(fraction * total.sum()))
    shares = np.minimum(fraction * total, total - 1)
    quota = np.floor(shares).astype(int)
    open_ = np.flatnonzero(total - 1 > quota)
    order = open_[np.argsort((quota - shares)[open_], kind="stable")]
    quota[order[: max(0, wanted - quota.sum())]] += 1
    return quota
