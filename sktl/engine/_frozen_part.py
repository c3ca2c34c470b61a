"""``FrozenPart``: the function of one image whose values the engine computes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sktl.backbones import BackboneRef
    from sktl.images import Recipe

# Raise it when the same part gives other numbers than before.
_NUMERICS_VERSION = 1


@dataclass(frozen=True)
class FrozenPart:
    """A frozen network up to a cut: what is computed, as a function of one image.

    Parameters
    ----------
    backbone : BackboneRef
        The network and the fingerprint of its weights.
    layers : tuple of str
        Stages whose outputs are wanted, in the order in which they are concatenated.
    pool : {"avg", "max", "avgmax", "flatten", "none"}
        How a map becomes a row. ``"none"`` keeps the raw activation of one layer, in
        the shape that the network gives it.
    recipe : Recipe
        How an image is prepared.
    value_range : (float, float) or None
        The values that mean black and white, for images on a scale of their own.
    precision : {"float32", "bfloat16", "float16"}
        Arithmetic of the network.
    engine : {"torch", "compile", "openvino"}
        What runs the network. At float32 the engines agree to 1e-6 and share rows.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from sktl.engine import FrozenPart
    >>> net = SimpleNamespace(name="pocket", fingerprint="c0ffee")
    >>> recipe = SimpleNamespace(key="64x64 bilinear")
    >>> part = FrozenPart(net, ("pool",), "avg", recipe, None, "float32", "torch")
    >>> part.key
    "1 pocket c0ffee ('pool',) avg [64x64 bilinear] None float32"
    """

    backbone: BackboneRef
    layers: tuple[str, ...]
    pool: str
    recipe: Recipe
    value_range: tuple[float, float] | None
    precision: str
    engine: str

    @cached_property
    def key(self) -> str:
        """Everything that changes the numbers, as text."""
        bounds = self.value_range
        if bounds is not None:
            bounds = (float(bounds[0]), float(bounds[1]))
        fields = [
            str(_NUMERICS_VERSION),
            self.backbone.name,
            str(self.backbone.fingerprint),
            str(tuple(self.layers)),
            self.pool,
            f"[{self.recipe.key}]",
            str(bounds),
            self.precision,
        ]
        # At float32 OpenVINO and torch agree to 1e-6, a hundredth of the tolerance
        # against the reference, so rows may come from either of them. In the shorter
        # formats they round differently (1e-2) and must not be mixed.
        if self.precision != "float32":
            fields.append(self.engine)
        return " ".join(fields)

    @cached_property
    def digest(self) -> bytes:
        """Sixteen bytes for ``key``, put before each row's fingerprint."""
        return hashlib.blake2b(self.key.encode(), digest_size=16).digest()
