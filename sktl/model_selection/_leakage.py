"""Copies of one picture on both sides of a split: found, and put into words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sktl.images import ImageRows
from sktl.model_selection._duplicates import components
from sktl.model_selection._question import Split


def describe_leakage(
    copies: np.ndarray, splits: Sequence[Split], rows: ImageRows
) -> str | None:
    """Return a sentence about copies on both sides of splits; None if there are none.

    ``copies`` is the group of each image, as ``duplicate_groups`` returns it.
    """
    leaking = [
        np.intersect1d(copies[train], copies[test], assume_unique=False)
        for train, test in splits
    ]
    n_splits = sum(len(groups) > 0 for groups in leaking)
    if not n_splits:
        return None
    groups = np.unique(np.concatenate(leaking))
    first, second = np.flatnonzero(copies == groups[0])[:2]
    n_images = np.isin(copies, groups).sum()
    return (
        f"{n_images} images are copies or near-copies ({rows.where(first)} and "
        f"{rows.where(second)}, for example), and in {n_splits} of {len(splits)} "
        "splits a copy is tested on while another is trained on, which flatters the "
        "score. Pass duplicates='group' to keep copies together, or remove them."
    )


def describe_contradictions(
    copies: np.ndarray, y: np.ndarray, rows: ImageRows
) -> str | None:
    """Return a sentence about copies with different labels; None if there are none."""
    order = np.argsort(copies, kind="stable")
    same = copies[order][1:] == copies[order][:-1]
    differ = same & (y[order][1:] != y[order][:-1])
    if not differ.any():
        return None
    at = np.flatnonzero(differ)[0]
    first, second = order[at], order[at + 1]
    return (
        f"{differ.sum()} pairs of copies have different labels: {rows.where(first)} "
        f"is {y[first]!s} and {rows.where(second)} is {y[second]!s}. One of each pair "
        "is wrong, or the label is not in the picture."
    )


def joined_groups(first: np.ndarray | None, second: np.ndarray) -> np.ndarray:
    """Return groups that keep together what either of two groupings does."""
    if first is None:
        return second
    first = np.unique(first, return_inverse=True)[1].ravel()
    n = first.max() + 1
    pairs = np.stack([first, n + second])
    return components(pairs, n + second.max() + 1)[first]
