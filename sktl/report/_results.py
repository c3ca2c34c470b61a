"""The section on one model: what it confuses, and its worst mistakes."""

from __future__ import annotations

import numpy as np

from sktl.report._pictures import Pictures

_MOST_IN_MATRIX = 20
_MOST_PAIRS = 12
_MOST_MISTAKES = 24
_SHADES = 8


def results_facts(
    pictures: Pictures,
    y: np.ndarray,
    predictions: np.ndarray,
    probabilities: np.ndarray | None,
    classes: np.ndarray,
) -> dict:
    """Return what the page says of predictions for images not learned from."""
    names = [str(label) for label in classes.tolist()]
    position = {label: k for k, label in enumerate(classes.tolist())}
    true = np.array([position[label] for label in y.tolist()])
    said = np.array([position[label] for label in predictions.tolist()])
    table = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(table, (true, said), 1)
    wrong = np.flatnonzero(true != said)
    sure = None
    if probabilities is not None:
        sure = probabilities[np.arange(len(said)), said]
        wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    return {
        "n": len(y),
        "n_wrong": len(wrong),
        "accuracy": float((true == said).mean()),
        "names": names,
        "matrix": _matrix(table) if len(names) <= _MOST_IN_MATRIX else None,
        "classes": _per_class(table, names),
        "pairs": _pairs(table, names),
        "mistakes": [
            {
                "picture": pictures[row],
                "true": names[true[row]],
                "said": names[said[row]],
                "probability": None if sure is None else float(sure[row]),
            }
            for row in wrong[:_MOST_MISTAKES]
        ],
        "ranked": sure is not None,
        "tall": len(names) > 6 or max(map(len, names)) > 10,
    }


def _matrix(table: np.ndarray) -> list[list[dict]]:
    """Return counts with a shade for the share of the true class."""
    totals = np.maximum(table.sum(axis=1, keepdims=True), 1)
    shades = np.ceil(_SHADES * table / totals).astype(int)
    return [
        [
            {"n": int(n), "shade": int(shade), "right": i == j}
            for j, (n, shade) in enumerate(zip(row, row_shades, strict=True))
        ]
        for i, (row, row_shades) in enumerate(zip(table, shades, strict=True))
    ]


def _per_class(table: np.ndarray, names: list[str]) -> list[dict]:
    """Return how many of each class were found, and how many of its claims hold."""
    right = np.diag(table)
    found, claimed = table.sum(axis=1), table.sum(axis=0)
    return [
        {
            "name": name,
            "n": int(found[k]),
            "recall": None if not found[k] else float(right[k] / found[k]),
            "precision": None if not claimed[k] else float(right[k] / claimed[k]),
        }
        for k, name in enumerate(names)
    ]


def _pairs(table: np.ndarray, names: list[str]) -> list[dict]:
    """Return the confusions that happened most often."""
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    return [
        {
            "true": names[i],
            "said": names[j],
            "n": int(wrong[i, j]),
            "share": float(wrong[i, j] / table[i].sum()),
        }
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]
