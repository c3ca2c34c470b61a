"""Rows of numbers, kept by the content of the image that they were computed from."""

from sktl.engine._store import EmbeddingStore

__all__ = ["EmbeddingStore"]
