"""What a fitted estimator is made of: images, embeddings, steps, head."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktl.features import PretrainedFeatures
from sktl.images import ImageRows


@dataclass(frozen=True)
class Step:
    """One step of a pipeline and what it is called."""

    name: str
    estimator: object


def steps_of(estimator) -> list[Step]:
    """Return the steps of a fitted estimator, whatever is wrapped around them.

    Searches give their best estimator, pipelines inside pipelines are unrolled.
    """
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return steps_of(estimator.best_estimator_)
    if not isinstance(estimator, Pipeline):
        return [Step(type(estimator).__name__, estimator)]
    steps = []
    for name, step in estimator.steps:
        if step is None or (isinstance(step, str) and step == "passthrough"):
            continue
        nested = isinstance(step, Pipeline) or hasattr(step, "best_estimator_")
        steps += steps_of(step) if nested else [Step(name, step)]
    return steps


def is_fine_tuned(estimator) -> bool:
    """Tell whether an estimator is one of sktl's fine-tuned ones; torch stays out."""
    return any(
        kind.__module__.startswith("sktl.finetune") for kind in type(estimator).__mro__
    )


def reads_images(estimator) -> bool:
    """Tell whether an estimator takes images and says how it reads them."""
    return isinstance(estimator, PretrainedFeatures) or is_fine_tuned(estimator)


def rows_for(estimator, X) -> ImageRows:
    """Return the images of X as the estimator reads them."""
    shape = None
    for step in steps_of(estimator):
        if reads_images(step.estimator):
            shape = step.estimator.image_shape
    return ImageRows.of(X, image_shape=shape)


def embeddings_of(estimator, X) -> np.ndarray:
    """Return what the head of a fitted estimator sees of images."""
    steps = steps_of(estimator)
    if is_fine_tuned(steps[-1].estimator):
        from sktl.inspection._tuned_stages import inputs_of_head

        return inputs_of_head(steps[-1].estimator, X)
    last = steps[-1].estimator
    is_head = hasattr(last, "predict") and len(steps) > 1
    if is_head or not hasattr(last, "transform"):
        steps = steps[:-1]
    if not steps:
        raise ValueError(
            f"{type(estimator).__name__} has no step that turns images into "
            "embeddings. Pass a pipeline with PretrainedFeatures, a fine-tuned "
            "estimator, or the embeddings themselves to from_embeddings."
        )
    embeddings = X
    for step in steps:
        embeddings = transformed(step, embeddings)
    return np.asarray(embeddings)


def transformed(step: Step, X):
    """Return what a step makes of X; an array may stand for a frame."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return step.estimator.transform(X)
