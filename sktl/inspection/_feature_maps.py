"""The last feature maps of a network, and that their mean is the embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sktl.backbones import BackboneInfo
from sktl.engine import FrozenPart, activations
from sktl.exceptions import ActivationMapError
from sktl.images import ImageRows, Recipe

# Two ways to the same average: of rounded maps here, inside the network there.
_TOLERANCE = {"float32": 1e-3}


@dataclass(frozen=True)
class FeatureMaps:
    """Feature maps of some images.

    Attributes
    ----------
    maps : ndarray of shape (n, channels, height, width)
        What the network found where.
    embeddings : ndarray of shape (n, channels)
        The mean of the maps over their places: what the head sees.
    stage : str
        The stage whose output they are.
    recipe : Recipe
        How the network saw the images.
    value_range : (float, float) or None
        The scale of their pixels.
    """

    maps: np.ndarray
    embeddings: np.ndarray
    stage: str
    recipe: Recipe
    value_range: tuple[float, float] | None


def maps_of_features(features, images: ImageRows, embeddings) -> FeatureMaps:
    """Return the maps behind the embeddings of a fitted ``PretrainedFeatures``."""
    part, info = features._part, features.info_
    if features.pool != "avg":
        raise ActivationMapError(
            f"PretrainedFeatures(pool={features.pool!r}): only an average over places "
            "can be taken apart again. Use pool='avg'."
        )
    if len(features.layers_) > 1:
        raise ActivationMapError(
            f"PretrainedFeatures(layers={features.layers!r}) joins the maps of "
            f"{len(features.layers_)} stages, which have different places. Use one of "
            "them."
        )
    return _maps(
        info,
        features.layers_[0],
        lambda stage: _frozen(part, stage, images, features.device),
        embeddings,
        part,
    )


def maps_of_fine_tuned(net, images: ImageRows, embeddings) -> FeatureMaps:
    """Return the maps behind the embeddings of a fitted fine-tuned estimator."""
    from sktl.inspection._tuned_stages import outputs_of_stages

    tuned = outputs_of_stages(net, images)
    part = net.embedding_part_

    def map_of(stage: str) -> np.ndarray:
        if stage in tuned:
            return _as_map(part, tuned[stage])
        return _frozen(part, stage, images, net.device)

    info = net.backbone_.info
    return _maps(info, info.stages[-1], map_of, embeddings, part)


def _maps(
    info: BackboneInfo,
    last: str,
    map_of: Callable[[str], np.ndarray],
    embeddings: np.ndarray,
    part: FrozenPart,
) -> FeatureMaps:
    """Return the last map at or before a stage, if its mean is the embedding."""
    stages = info.stages[: info.stages.index(last) + 1]
    for stage in reversed(stages):
        maps = map_of(stage)
        if maps.ndim == 4 and maps.shape[2] * maps.shape[3] > 1:
            break
    else:
        raise ActivationMapError(
            f"{info.name!r} has no feature map with more than one place for images of "
            f"{part.recipe.size[0]} x {part.recipe.size[1]} pixels. Use a larger "
            "image_size."
        )
    means = maps.mean(axis=(2, 3), dtype=np.float64)
    tolerance = _TOLERANCE.get(part.precision, 5e-2) * np.abs(means).max()
    exact = means.shape == embeddings.shape and (
        np.abs(means - embeddings).max() <= tolerance
    )
    if not exact:
        after = stages[stages.index(stage) + 1 :]
        names = ", ".join(map(repr, after))
        why = "the two differ"
        if after:
            why = f"the stage{'s' * (len(after) > 1)} {names} came in between"
        raise ActivationMapError(
            f"The embedding of {info.name!r} is not the average of its last feature "
            f"map, that of {stage!r}: {why}. PretrainedFeatures(layers={stage!r}) "
            "averages that map, and a linear head on it has exact activation maps."
        )
    return FeatureMaps(maps, embeddings, stage, part.recipe, part.value_range)


def _frozen(part: FrozenPart, stage: str, images: ImageRows, device) -> np.ndarray:
    """Return the output of a frozen stage, as a map if it is one."""
    raw = activations(
        images,
        replace(part, layers=(stage,), pool="none"),
        device=device,
        cache=None,  # a few large maps, wanted once
    )
    return _as_map(part, raw)


def _as_map(part: FrozenPart, raw: np.ndarray) -> np.ndarray:
    """Return the output of a stage as (n, channels, h, w), whatever its layout."""
    import torch

    return part.backbone.load().as_map(torch.from_numpy(raw)).numpy()
