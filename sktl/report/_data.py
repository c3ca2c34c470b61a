"""The section on the data: classes, examples, copies, what was left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sktl.report._pictures import Pictures

_EXAMPLES, _MOST_PICTURES = 6, 96
_MOST_NAMED = 20
_MOST_COPIES = 6


def data_facts(
    pictures: Pictures,
    y: np.ndarray,
    copies: np.ndarray | None,
    test_y: np.ndarray | None,
    skipped: Sequence[str],
    unreadable: Sequence[str],
) -> dict:
    """Return what the page says of the images."""
    labels, counts = np.unique(y, return_counts=True)
    n_examples = max(1, min(_EXAMPLES, _MOST_PICTURES // len(labels)))
    rng = np.random.default_rng(0)
    classes = []
    for k, (label, count) in enumerate(zip(labels.tolist(), counts, strict=True)):
        own = rng.permutation(np.flatnonzero(y == label))[:n_examples]
        shown = own if k < _MOST_PICTURES else []
        classes.append(
            {
                "name": str(label),
                "count": int(count),
                "share": float(count / len(y)),
                "test": None if test_y is None else int(np.sum(test_y == label)),
                "examples": [pictures[row] for row in shown],
            }
        )
    return {
        "n_images": len(y),
        "n_test": 0 if test_y is None else len(test_y),
        "classes": classes,
        "largest": float(counts.max() / len(y)),
        "copies": None if copies is None else _copies(pictures, copies),
        "skipped": _named(skipped),
        "unreadable": _named(unreadable),
    }


def _copies(pictures: Pictures, groups: np.ndarray) -> dict:
    """Return how many images have copies, and some of them."""
    sizes = np.bincount(groups)
    of = np.flatnonzero(sizes > 1)
    largest = of[np.argsort(-sizes[of], kind="stable")]
    return {
        "n_groups": len(of),
        "n_images": int(sizes[of].sum()),
        "groups": [
            {
                "size": int(sizes[group]),
                "pictures": [
                    pictures[row] for row in np.flatnonzero(groups == group)[:4]
                ],
            }
            for group in largest[:_MOST_COPIES]
        ],
    }


def _named(paths: Sequence[str]) -> dict:
    """Return the number of files, and some of their names."""
    return {
        "n": len(paths),
        "named": list(paths[:_MOST_NAMED]),
        "more": max(0, len(paths) - _MOST_NAMED),
    }
