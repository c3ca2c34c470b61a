"""The map of embeddings: images near those that the network finds alike."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from sktl.inspection._classes import mark_of
from sktl.inspection._placement import in_turns, place, window_of
from sktl.report._pictures import Pictures

WIDTH, HEIGHT = 720, 480
_SIDE = 40
_MOST_POINTS, _MOST_PICTURES, _MOST_CLASSES = 600, 36, 16
_N_COLOURS = 8  # .c0 to .c7 of the style sheet


def map_facts(
    embeddings: np.ndarray, y: np.ndarray, classes: np.ndarray, pictures: Pictures
) -> dict:
    """Return points, pictures and a legend for a drawing of WIDTH x HEIGHT."""
    rng = np.random.RandomState(0)
    known = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    rows = np.sort(rng.permutation(known)[:_MOST_POINTS])
    analysis = PCA(2, random_state=0).fit(embeddings[rows])
    positions = analysis.transform(embeddings[rows])
    low, high = window_of(positions)
    # In units of the drawing, and upwards as people draw.
    scale = np.array([WIDTH, HEIGHT]) / np.maximum(high - low, 1e-12)
    places = (positions - low) * scale
    places[:, 1] = HEIGHT - places[:, 1]
    codes = np.searchsorted(classes, y[rows])
    inside = ((places >= 0) & (places <= (WIDTH, HEIGHT))).all(axis=1)
    window = np.array([[0, 0], [WIDTH, HEIGHT]])
    order = in_turns(codes, rng)
    shown = place(places, order, _SIDE + 4, window, _MOST_PICTURES)
    largest = np.argsort(-np.bincount(np.searchsorted(classes, y)), kind="stable")
    own = {int(code): k for k, code in enumerate(sorted(largest[:_MOST_CLASSES]))}
    explained = analysis.explained_variance_ratio_
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "points": [
            {**_look(own, codes[i]), "x": places[i, 0], "y": places[i, 1]}
            for i in np.flatnonzero(inside)
            if i not in set(shown.tolist())
        ],
        "pictures": [
            {
                **_look(own, codes[i]),
                **_centred(pictures.at(rows[i], 48), places[i]),
                "label": str(y[rows[i]]),
            }
            for i in shown
        ],
        "legend": [{"name": str(classes[code]), **_look(own, code)} for code in own],
        "n_others": len(classes) - len(own),
        "n_points": len(rows),
        "explained": [float(share) for share in explained],
    }


def _look(own: dict[int, int], code: int) -> dict:
    """Return colour and mark of a class; small ones beyond the first are grey."""
    k = own.get(int(code))
    if k is None:
        return {"colour": "cx", "mark": "o"}
    return {"colour": f"c{k % _N_COLOURS}", "mark": mark_of(k)}


def _centred(picture: dict, place: np.ndarray) -> dict:
    """Return a picture with its place around a point."""
    shrink = _SIDE / max(picture["width"], picture["height"])
    width, height = picture["width"] * shrink, picture["height"] * shrink
    return {
        **picture,
        "w": width,
        "h": height,
        "x": place[0] - width / 2,
        "y": place[1] - height / 2,
    }
