"""What ``compare`` sets side by side: baselines and both strategies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sktl.model_selection._descriptors import ColorHistogram, SmallPixels
from sktl.model_selection._heads import head_and_grid, name_of_head
from sktl.model_selection._ranking import as_features, name_of_features
from sktl.model_selection._strategy_grid import (
    default_heads,
    fine_tuned_class,
    fixed_and_choices,
)

BASELINES = ("simplest", "pixels", "colors", "untrained")
# The time of kernel machines grows with the square of the number of images.
_MOST_FOR_KERNELS = 5000


@dataclass(frozen=True)
class Contender:
    """One way to answer the question.

    Parameters
    ----------
    name : str
        What it is called in tables.
    strategy : {"baseline", "frozen", "fine-tuned"}
        Where it belongs.
    features : transformer or None
        A function of each image alone, computed once; None where the model sees the
        images themselves.
    model : estimator
        What is fitted, to features or to images.
    grid : dict
        Values among which an inner cross-validation chooses.
    backbone, head : str or None
        Names for the table.
    unfreeze : object
        What is trained of the backbone.
    sees_images : bool
        Whether the model itself gets images.
    """

    name: str
    strategy: str
    features: BaseEstimator | None
    model: BaseEstimator
    grid: dict = field(default_factory=dict)
    backbone: str | None = None
    head: str | None = None
    unfreeze: object = None
    sees_images: bool = False

    def estimator(self, params: Mapping) -> BaseEstimator:
        """Return the whole of it with some parameters, not fitted."""
        model = clone(self.model).set_params(**params)
        if self.features is None:
            return model
        return Pipeline([("features", clone(self.features)), *model.steps])


def contenders(
    task: str,
    n_images: int,
    seed: int,
    *,
    backbones: Sequence,
    heads: Sequence | None,
    unfreeze: Sequence | None,
    baselines: Sequence[str],
    weights,
    fine_tuning: Mapping | None,
    shared: Mapping,
) -> list[Contender]:
    """Return all contenders, those that share features next to each other."""
    if heads is None:
        heads = default_heads(task)
        if n_images > _MOST_FOR_KERNELS:
            heads = heads[:1]
    found = []
    for name in baselines:
        found += _baseline(name, task, n_images, seed, backbones, shared)
    for backbone in backbones:
        features = as_features(backbone, weights, random_state=seed, **shared)
        name = name_of_features(features)
        for head in heads:
            found.append(_on_features(name, "frozen", features, head, task, seed, name))
        for value in unfreeze if unfreeze is not None else ():
            tuned = _fine_tuned(features, value, task, seed, fine_tuning)
            if tuned.name not in {contender.name for contender in found}:
                found.append(tuned)
    if not found:
        raise ValueError(
            "Nothing to compare: baselines, heads and unfreeze are all empty."
        )
    return _with_distinct_names(found)


def _baseline(
    name: str, task: str, n_images: int, seed: int, backbones: Sequence, shared: Mapping
) -> list[Contender]:
    """Return a baseline by name."""
    kernel, linear = default_heads(task)[::-1]
    head = linear if n_images > _MOST_FOR_KERNELS else kernel
    shape = {"image_shape": shared["image_shape"]}
    if name == "simplest":
        if task == "classification":
            called, model = "most frequent class", DummyClassifier(strategy="prior")
        else:
            called, model = "mean of y", DummyRegressor()
        return [Contender(called, "baseline", None, model)]
    if name == "pixels":
        features = SmallPixels(**shape)
        return [_on_features("pixels", "baseline", features, head, task, seed)]
    if name == "colors":
        features = ColorHistogram(**shape)
        return [_on_features("colors", "baseline", features, head, task, seed)]
    if name == "untrained":
        features = as_features(backbones[0], None, random_state=seed, **shared)
        if not isinstance(features.backbone, str):
            return []  # a module keeps the weights that it has
        features.set_params(weights=None, random_state=seed)
        called = f"untrained {features.backbone}"
        return [_on_features(called, "baseline", features, linear, task, seed, called)]
    raise ValueError(
        f"baselines: {name!r} is unknown. Choose among {', '.join(BASELINES)}."
    )


def _on_features(
    called: str,
    strategy: str,
    features: BaseEstimator,
    head,
    task: str,
    seed: int,
    backbone: str | None = None,
) -> Contender:
    """Return a head on standardised features."""
    estimator, grid = head_and_grid(head, task, seed)
    model = Pipeline([("scaler", StandardScaler()), ("head", estimator)])
    return Contender(
        name=f"{called} + {name_of_head(head)}",
        strategy=strategy,
        features=features,
        model=model,
        grid={f"head__{key}": values for key, values in grid.items()},
        backbone=backbone,
        head=name_of_head(head),
    )


def _fine_tuned(
    features: BaseEstimator,
    unfreeze,
    task: str,
    seed: int,
    fine_tuning: Mapping | None,
) -> Contender:
    """Return a fine-tuned network, with the settings of the features it starts from."""
    fixed, choices = fixed_and_choices(fine_tuning)
    cls = fine_tuned_class(task)
    known = cls().get_params(deep=False)
    inherited = {
        key: value
        for key, value in features.get_params(deep=False).items()
        if key in known and key not in ("batch_size", "precision", "verbose")
    }
    # Layers and pooling mean nothing to fine-tuning: one contender for all of them.
    name = name_of_features(clone(features).set_params(layers=None, pool="avg"))
    model = cls(**{**inherited, "unfreeze": unfreeze, "random_state": seed, **fixed})
    return Contender(
        name=f"{name} fine-tuned, unfreeze={unfreeze!r}",
        strategy="fine-tuned",
        features=None,
        model=model,
        grid=choices,
        backbone=name,
        unfreeze=unfreeze,
        sees_images=True,
    )


def _with_distinct_names(found: list[Contender]) -> list[Contender]:
    """Refuse two contenders of one name: results are looked up by it."""
    names = [contender.name for contender in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"Two contenders are called {name!r}. Give each backbone and each head "
                "once."
            )
    return found
