"""Fitted models as files that can be read without running anything from them."""

from sktl.persistence._model import describe_model, load_model, save_model

__all__ = ["describe_model", "load_model", "save_model"]
