"""Displays like scikit-learn's: pictures of what a model does with images.

Each display has ``from_estimator``, or another constructor from what was computed
elsewhere, and ``plot(ax=None)``. Drawing needs matplotlib: ``pip install 'sktl[viz]'``.
"""

from sktl.inspection._activation_map import ActivationMapDisplay

# Imported as themselves: for sktl.report, not part of the public API.
from sktl.inspection._classes import turns_of as turns_of
from sktl.inspection._embedding_map import EmbeddingMapDisplay
from sktl.inspection._fitted_steps import embeddings_of as embeddings_of
from sktl.inspection._image_confusion import ImageConfusionDisplay
from sktl.inspection._label_curve import LabelCurveDisplay
from sktl.inspection._mistakes import MistakesDisplay
from sktl.inspection._predictions import Predictions as Predictions
from sktl.inspection._thumbnails import Thumbnails as Thumbnails
from sktl.inspection._training_history import TrainingHistoryDisplay
from sktl.inspection._views_display import ViewsDisplay

__all__ = [
    "ActivationMapDisplay",
    "EmbeddingMapDisplay",
    "ImageConfusionDisplay",
    "LabelCurveDisplay",
    "MistakesDisplay",
    "TrainingHistoryDisplay",
    "ViewsDisplay",
]
