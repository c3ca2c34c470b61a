"""Feature extraction: images in, embeddings of a frozen network out."""

from sktl.features._pretrained import PretrainedFeatures

__all__ = ["PretrainedFeatures"]
