"""The feature maps whose averages over image positions are embeddings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sktl.engine import FrozenPart, activations
from sktl.exceptions import ActivationMapError
from sktl.features import PretrainedFeatures
from sktl.images import ImageRows


@dataclass(frozen=True)
class FeatureMaps:
    """Feature maps of some images."""

    maps: np.ndarray  # (n, channels, height, width), the last output with positions
    embeddings: np.ndarray  # (n, channels), their means: what the head sees
    part: FrozenPart  # how the network saw the images

    @classmethod
    def of(cls, estimator, X, images: ImageRows) -> FeatureMaps:
        """Return the maps of a ``PretrainedFeatures`` or a fine-tuned estimator.

        They are the output of the last stage that has positions. It is an error if
        their mean is not the embedding.
        """
        import torch

        trained: dict[str, np.ndarray] = {}
        if isinstance(estimator, PretrainedFeatures):
            _check_average(estimator)
            part, info = estimator._part, estimator.info_
            last, embeddings = estimator.layers_[0], estimator.transform(X)
        else:
            part, info = estimator.embedding_part_, estimator.backbone_.info
            trained = _outputs(estimator, images, estimator.module_.stages.items())
            last, embeddings = info.stages[-1], inputs_of_head(estimator, X)
        stages = info.stages[: info.stages.index(last) + 1]
        for stage in reversed(stages):
            output = trained.get(stage)
            if output is None:  # frozen; not cached: a few large maps, needed once
                wanted = replace(part, layers=(stage,), pool="none")
                output = activations(
                    images, wanted, device=estimator.device, cache=None
                )
            maps = part.backbone.load().as_map(torch.from_numpy(output)).numpy()
            if maps.ndim == 4 and maps.shape[2] * maps.shape[3] > 1:
                break
        else:
            raise ActivationMapError(
                f"{info.name!r} has no feature map with more than one position for "
                f"images of {part.recipe.size[0]} x {part.recipe.size[1]} pixels. Use "
                "a larger image_size."
            )
        means = maps.mean(axis=(2, 3), dtype=np.float64)
        # The same average twice: of rounded maps here, inside the network there.
        rtol = 1e-3 if part.precision == "float32" else 5e-2
        same = means.shape == embeddings.shape
        if not same or not np.allclose(
            means, embeddings, rtol=0, atol=rtol * np.abs(means).max()
        ):
            after = stages[stages.index(stage) + 1 :]
            names = ", ".join(map(repr, after))
            why = f"the stage{'s' * (len(after) > 1)} {names} came after it"
            raise ActivationMapError(
                f"The embedding of {info.name!r} is not the average of its last "
                f"feature map, that of {stage!r}: {why if after else 'they differ'}. "
                f"PretrainedFeatures(layers={stage!r}) averages that map, and a linear "
                "head on it has exact activation maps."
            )
        return cls(maps, embeddings, part)


def _check_average(features: PretrainedFeatures) -> None:
    """Refuse embeddings that are not the average of one map."""
    if features.pool != "avg":
        raise ActivationMapError(
            f"PretrainedFeatures(pool={features.pool!r}): only averages can be split "
            "by image position. Use pool='avg'."
        )
    if len(features.layers_) > 1:
        raise ActivationMapError(
            f"PretrainedFeatures(layers={features.layers!r}) joins the maps of "
            f"{len(features.layers_)} stages, whose positions differ. Use one of them."
        )


def inputs_of_head(net, X) -> np.ndarray:
    """Return the embeddings that reach the head of a fine-tuned estimator."""
    return _outputs(net, X, [("head", net.module_.head)], inputs=True)["head"]


def head_of(net) -> Callable[[np.ndarray], np.ndarray]:
    """Return the head of a fine-tuned estimator as a function, in double precision."""
    import torch

    head = copy.deepcopy(net.module_.head).cpu().double().eval()

    def outputs(embeddings: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return head(torch.from_numpy(embeddings.astype(np.float64))).numpy()

    return outputs


def _outputs(net, X, modules, *, inputs: bool = False) -> dict[str, np.ndarray]:
    """Return the outputs, or inputs, of named modules while a net sees X."""
    batches: dict[str, list] = {}
    kept: dict[str, list] = {}

    def watch(name, module):
        def keep(module, taken, given):
            tensor = taken[0] if inputs else given
            batch = tensor.detach().float().cpu().numpy()
            batches.setdefault(name, []).append(batch)

        return module.register_forward_hook(keep)

    handles = [watch(name, module) for name, module in modules]
    try:
        for predicted in net.forward_iter(X):
            for name, parts in batches.items():
                # Batches may be padded at the end, to equal sizes.
                rows = np.concatenate(parts)[: len(predicted)]
                kept.setdefault(name, []).append(rows)
            batches.clear()
    finally:
        for handle in handles:
            handle.remove()
    return {name: np.concatenate(parts) for name, parts in kept.items()}
