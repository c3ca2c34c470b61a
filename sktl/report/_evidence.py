"""What the best network sees: its embeddings, and where its scores come from."""

from __future__ import annotations

import numpy as np
from sklearn.pipeline import Pipeline

from sktl.exceptions import ActivationMapError, MissingExtraError
from sktl.images import ImageRows
from sktl.inspection._estimators import embeddings_of
from sktl.report._map import map_facts
from sktl.report._pictures import Pictures, picture

_MOST_MAPS = 12


def evidence_facts(
    model, X, rows: ImageRows, y: np.ndarray, classes, pictures: Pictures, chosen
) -> dict:
    """Return the map of all images, and activation maps of those chosen."""
    embeddings = embeddings_of(model, X)
    return {
        "map": map_facts(embeddings, y, classes, pictures),
        "activation": _activation(model, rows, y, chosen[:_MOST_MAPS], pictures),
    }


def embeddings_by(model, X) -> np.ndarray:
    """Return what the head of a fitted model sees."""
    return embeddings_of(model, X)


def is_linear_pipeline(model) -> bool:
    """Tell whether a pipeline ends in a linear head, whose scores can be split up."""
    return isinstance(model, Pipeline) and hasattr(model.steps[-1][1], "coef_")


def _activation(model, rows: ImageRows, y, chosen, pictures: Pictures) -> dict:
    """Return pictures tinted by what speaks for the predicted class, or the reason."""
    from sktl.inspection import ActivationMapDisplay
    from sktl.inspection._activation_map import overlay

    try:
        display = ActivationMapDisplay.from_estimator(
            model, rows.take(chosen), y[chosen]
        )
    except (ActivationMapError, MissingExtraError) as error:
        return {"reason": str(error), "maps": []}
    from matplotlib import pyplot

    pyplot.close(display.figure_)
    strongest = float(np.quantile(np.abs(display.maps), 0.98)) or 1.0
    maps = []
    for k, row in enumerate(chosen):
        seen = display.pictures[k]
        maps.append(
            {
                "seen": picture(seen),
                "tinted": picture(overlay(seen, display.maps[k] / strongest)),
                **pictures.names(row),
                "target": display.targets[k],
                "true": str(y[row]),
                "score": float(display.scores[k]),
            }
        )
    return {"reason": None, "maps": maps}
