"""Feature extraction: images in, embeddings of a frozen network out."""

from sktl.features._augmented import AugmentedEstimator
from sktl.features._pretrained import PretrainedFeatures

__all__ = ["AugmentedEstimator", "PretrainedFeatures"]
