"""Heads for embeddings: linear models that choose their own penalty."""

from sktl.heads._probe import (
    ProbeClassifier,
    ProbeRegressor,
    solve_classes,
    solve_numbers,
)

__all__ = ["ProbeClassifier", "ProbeRegressor", "solve_classes", "solve_numbers"]
