"""Heads for embeddings: linear models that choose their own penalty."""

# Imported as themselves: for fine-tuning, not part of the public API.
from sktl.heads._class_weights import check_class_weight as check_class_weight
from sktl.heads._class_weights import class_factors as class_factors
from sktl.heads._probe import (
    ProbeClassifier,
    ProbeRegressor,
    solve_classes,
    solve_numbers,
)

__all__ = ["ProbeClassifier", "ProbeRegressor", "solve_classes", "solve_numbers"]
