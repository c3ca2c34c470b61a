"""What more labels would bring: the same head on ever more of the images."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import StratifiedShuffleSplit

_N_DRAWS = 8
_FRACTIONS = (0.125, 0.25, 0.5, 1.0)
_MOST_IMAGES = 3000


def label_facts(head, embeddings: np.ndarray, y: np.ndarray) -> dict | None:
    """Return mean scores by number of labels; None where there are too few to divide.

    Each draw holds out a fifth of the images. Frozen embeddings do not depend on the
    labels, so only the head is fitted anew.
    """
    counts = np.unique(y, return_counts=True)[1]
    if counts.min() < 5:
        return None
    keep = np.sort(np.random.default_rng(0).permutation(len(y))[:_MOST_IMAGES])
    embeddings, y = embeddings[keep], y[keep]
    n_classes = len(counts)
    draws = StratifiedShuffleSplit(_N_DRAWS, test_size=0.2, random_state=0)
    n_train = len(y) - int(np.ceil(0.2 * len(y)))
    sizes = [
        size
        for size in sorted({int(share * n_train) for share in _FRACTIONS})
        if size >= 3 * n_classes
    ]
    if len(sizes) < 2:
        return None
    scores = np.empty((len(sizes), _N_DRAWS))
    for draw, (train, test) in enumerate(draws.split(embeddings, y)):
        for k, size in enumerate(sizes):
            some = train[:size]  # the order of a draw is random
            if len(np.unique(y[some])) < n_classes:
                scores[k, draw] = np.nan
                continue
            fitted = clone(head).fit(embeddings[some], y[some])
            scores[k, draw] = fitted.score(embeddings[test], y[test])
    known = ~np.isnan(scores).all(axis=1)
    rows = [
        {
            "n": size,
            "per_class": size / n_classes,
            "mean": float(np.nanmean(row)),
            "low": float(np.nanmin(row)),
            "high": float(np.nanmax(row)),
        }
        for size, row in zip(
            np.array(sizes)[known].tolist(), scores[known], strict=True
        )
    ]
    return {"rows": rows, "gain": _last_gain(scores[known])} if len(rows) > 1 else None


def _last_gain(scores: np.ndarray) -> dict:
    """Return what the last doubling brought, with its standard error."""
    gains = scores[-1] - scores[-2]
    gains = gains[np.isfinite(gains)]
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
    return {"mean": float(gains.mean()), "error": error}
