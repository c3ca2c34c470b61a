"""What the sections of the page show: undrawn displays, and facts about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import precision_recall_fscore_support

from sktl.exceptions import ActivationMapError
from sktl.images import ImageRows
from sktl.inspection import (
    ActivationMapDisplay,
    EmbeddingMapDisplay,
    ImageConfusionDisplay,
    MistakesDisplay,
    Predictions,
)
from sktl.report._page import Pictures

_MOST_PICTURES, _MOST_EXAMPLES, _MOST_COPIES = 96, 6, 6
_MOST_POINTS, _MAP_SIZE = 600, (720, 480)
_BAR_WIDTH, _BAR_MARGIN = 120, 6


def data_section(
    images: ImageRows,
    y: np.ndarray,
    copies: np.ndarray | None,
    pairs: Sequence[tuple],
    test_y: np.ndarray | None,
    skipped: Sequence[str],
    unreadable: Sequence[str],
) -> dict:
    """Return the classes with examples, copies, and what was left out."""
    pictures, rng = Pictures(images), np.random.default_rng(0)
    labels, counts = np.unique(y, return_counts=True)
    n_examples = max(1, min(_MOST_EXAMPLES, _MOST_PICTURES // len(labels)))
    classes = []
    for k, (label, count) in enumerate(zip(labels, counts, strict=True)):
        examples = rng.permutation(np.flatnonzero(y == label))[:n_examples]
        classes.append(
            {
                "name": str(label),
                "count": count,
                "test": None if test_y is None else np.sum(test_y == label),
                "examples": [pictures[row] for row in examples if k < _MOST_PICTURES],
            }
        )
    return {
        "n_images": len(y),
        "n_test": 0 if test_y is None else len(test_y),
        "classes": classes,
        "copies": None if copies is None else _copies(pictures, copies, pairs),
        "skipped": skipped,
        "unreadable": unreadable,
    }


def _copies(pictures: Pictures, groups: np.ndarray, pairs: Sequence[tuple]) -> dict:
    """Return how many images have copies, and some of them."""
    sizes = np.bincount(groups)
    largest = np.argsort(-sizes, kind="stable")
    largest = largest[sizes[largest] > 1]
    shown = []
    for group in largest[:_MOST_COPIES]:
        kinds = {kind for first, _, kind, _ in pairs if groups[first] == group}
        rows = np.flatnonzero(groups == group)
        shown.append((len(rows), sorted(kinds), [pictures[i] for i in rows[:4]]))
    return {
        "n_groups": len(largest),
        "n_images": sizes[largest].sum(),
        "groups": shown,
    }


def ranking_section(comparison) -> dict:
    """Return the comparison, and where its intervals lie on a common scale."""
    ends = np.array(
        [[row["low"], row["score"], row["high"]] for row in comparison.table], float
    )
    ends[~np.isfinite(ends)] = np.nan
    low, high = np.nanmin(ends), np.nanmax(ends)
    room = _BAR_WIDTH - 2 * _BAR_MARGIN
    return {
        "comparison": comparison,
        "low": low,
        "high": high,
        "width": _BAR_WIDTH,
        "x": _BAR_MARGIN + room * (ends - low) / max(high - low, 1e-9),
    }


def results_section(predictions: Predictions, *, model: str) -> dict:
    """Return confusions, scores by class, and mistakes."""
    names = predictions.names
    precision, recall, _, counts = precision_recall_fscore_support(
        predictions.true,
        predictions.predicted,
        labels=range(len(names)),
        zero_division=np.nan,
    )
    return {
        "model": model,
        "n": len(predictions.true),
        "confusion": ImageConfusionDisplay.compute(predictions),
        "mistakes": MistakesDisplay.compute(predictions),
        "counts": counts,
        "recall": recall,
        "precision": precision,
        "tall": len(names) > 6 or max(map(len, names)) > 10,
        "pictures": Pictures(predictions.images),
    }


def map_section(embeddings: np.ndarray, images: ImageRows, y: np.ndarray) -> dict:
    """Return a map of some images, and the positions in its drawing."""
    known = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    rows = np.sort(np.random.default_rng(0).permutation(known)[:_MOST_POINTS])
    images, size = images.take(rows), np.array(_MAP_SIZE)
    pca = PCA(2, random_state=0)
    classes, codes = np.unique(y[rows], return_inverse=True)
    display = EmbeddingMapDisplay(
        pca.fit_transform(embeddings[rows]),
        method="PCA",
        classes=codes,
        class_names=[str(label) for label in classes],
        images=images,
    )
    ranks, names = display.legend(max_classes=16)
    corner, unit, shown = display.layout(size, ranks, side=40, n_images=36)
    places = (display.positions - corner) / unit
    places[:, 1] = size[1] - places[:, 1]  # SVG counts downwards
    inside = ((places >= 0) & (places <= size)).all(axis=1)
    return {
        "display": display,
        "explained": pca.explained_variance_ratio_.sum(),
        "size": _MAP_SIZE,
        "places": places,
        "ranks": ranks,
        "names": names,
        "shown": shown,
        "points": np.setdiff1d(np.flatnonzero(inside), shown),
        "pictures": Pictures(images, side=48),
    }


def activation_section(model, images: ImageRows, y: np.ndarray) -> dict:
    """Return activation maps of images, or the reason why there are none."""
    try:
        display = ActivationMapDisplay.compute(model, images, y)
    except ActivationMapError as error:
        return {"reason": str(error)}
    return {"reason": None, "display": display, "pictures": Pictures(images)}
