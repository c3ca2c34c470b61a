"""Displays in the manner of scikit-learn: what a model of images does, in pictures.

Each display has ``from_estimator``, or another constructor from what was computed
elsewhere, and ``plot(ax=None)``. They need matplotlib: ``pip install 'sktl[viz]'``.
"""

from sktl.inspection._activation_map import ActivationMapDisplay
from sktl.inspection._confusion import ImageConfusionDisplay
from sktl.inspection._history import TrainingHistoryDisplay
from sktl.inspection._label_curve import LabelCurveDisplay
from sktl.inspection._map import EmbeddingMapDisplay
from sktl.inspection._mistakes import MistakesDisplay

__all__ = [
    "ActivationMapDisplay",
    "EmbeddingMapDisplay",
    "ImageConfusionDisplay",
    "LabelCurveDisplay",
    "MistakesDisplay",
    "TrainingHistoryDisplay",
]
