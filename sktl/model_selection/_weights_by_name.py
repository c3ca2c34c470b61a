"""The ``weights`` argument where there are several backbones: one, or one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def weights_of(backbone, weights):
    """Return the weights that one backbone gets; a dict names some, by name."""
    if not isinstance(weights, Mapping):
        return weights
    return weights.get(backbone, "default") if isinstance(backbone, str) else "default"


def check_names(weights, backbones: Sequence) -> None:
    """Refuse a dict of weights that names a backbone which is not there."""
    names = [backbone for backbone in backbones if isinstance(backbone, str)]
    for name in weights if isinstance(weights, Mapping) else ():
        if name not in names:
            raise ValueError(
                f"weights names {name!r}, which is not among the backbones "
                f"({', '.join(map(repr, names))})."
            )
