"""The steps of a fitted estimator, and the images and embeddings they see."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktl.features import AugmentedEstimator
from sktl.images import ImageRows


@dataclass(frozen=True)
class Step:
    """One step of a pipeline and its name."""

    name: str
    estimator: BaseEstimator

    def __str__(self) -> str:
        """Return the name and the type, for messages."""
        return f"{self.name!r} ({type(self.estimator).__name__})"

    def transform(self, X):
        """Return the output of the step for X, which may be an array, not a frame."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            return self.estimator.transform(X)


def steps_of(estimator) -> list[Step]:
    """Return the steps of a fitted estimator, whatever is wrapped around them.

    A search stands for its best estimator, views for what is fitted to them, and
    nested pipelines are flattened.
    """
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return steps_of(estimator.best_estimator_)
    if isinstance(estimator, AugmentedEstimator):
        return steps_of(estimator.estimator_)
    if not isinstance(estimator, Pipeline):
        return [Step(type(estimator).__name__, estimator)]
    steps = []
    for name, step in estimator.steps:
        if step is None or (isinstance(step, str) and step == "passthrough"):
            continue
        nested = isinstance(step, Pipeline | AugmentedEstimator)
        nested = nested or hasattr(step, "best_estimator_")
        steps += steps_of(step) if nested else [Step(name, step)]
    return steps


def is_fine_tuned(estimator) -> bool:
    """Tell whether an estimator is one of sktl's fine-tuned ones, without torch."""
    return any(
        kind.__module__.startswith("sktl.finetune") for kind in type(estimator).__mro__
    )


def images_for(estimator, X) -> ImageRows:
    """Return the images of X as the estimator reads them."""
    steps = steps_of(estimator)
    shapes = [getattr(step.estimator, "image_shape", None) for step in steps]
    return ImageRows.of(X, image_shape=next(filter(None, shapes), None))


def embeddings_of(estimator, X) -> np.ndarray:
    """Return the embeddings that the head of a fitted estimator sees."""
    steps = steps_of(estimator)
    last = steps[-1].estimator
    if is_fine_tuned(last):
        from sktl.inspection._feature_maps import inputs_of_head

        return inputs_of_head(last, X)
    is_head = hasattr(last, "predict") and len(steps) > 1
    if is_head or not hasattr(last, "transform"):
        steps = steps[:-1]
    if not steps:
        raise ValueError(
            f"{type(estimator).__name__} has no step that turns images into "
            "embeddings. Pass a pipeline with PretrainedFeatures or a fine-tuned "
            "estimator, or the embeddings themselves to from_embeddings."
        )
    for step in steps:
        X = step.transform(X)
    return np.asarray(X)
