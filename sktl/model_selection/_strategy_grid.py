"""``strategy_grid``: one search space over frozen features and fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scipy.stats import loguniform
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import StrOptions, validate_params

from sktl.features import PretrainedFeatures
from sktl.model_selection._heads import head_and_grid
from sktl.model_selection._weights_by_name import check_names, weights_of


@validate_params(
    {
        "backbones": ["array-like", str],
        "task": [StrOptions({"classification", "regression"})],
        "heads": ["array-like", str, None],
        "unfreeze": ["array-like", None],
        "weights": [dict, str, None],
        "features": [dict, None],
        "fine_tuning": [dict, None],
        "sampling": [StrOptions({"grid", "random"})],
    },
    prefer_skip_nested_validation=True,
)
def strategy_grid(
    backbones=("pocket",),
    *,
    task="classification",
    heads=None,
    unfreeze=("head", 1),
    weights="default",
    image_size=None,
    image_shape=None,
    cache="session",
    device="auto",
    features=None,
    fine_tuning=None,
    sampling="grid",
    random_state=None,
):
    """Return an estimator and a parameter grid that span both strategies.

    One search then decides between heads on frozen features and fine-tuning, on the
    same folds and by the same score. Everything is plain scikit-learn: the estimator
    is a :class:`~sklearn.pipeline.Pipeline` of one step, ``"model"``, which the grid
    replaces; the grid is a list of dicts that can be printed, edited and joined.

    Parameters
    ----------
    backbones : sequence of str, default=("pocket",)
        Names of networks; any of them may be a module, or a callable that makes one.

    task : {"classification", "regression"}, default="classification"
        Which heads and which fine-tuned estimator are meant.

    heads : sequence or None, default=None
        What is trained on frozen features behind a ``StandardScaler``. Each is a
        name, an estimator, or a pair of an estimator and its grid:

        - for classification ``"logistic"``, ``"svc"``, ``"linear_svc"``, ``"knn"``
          and ``"forest"``; None is ``("logistic", "svc")``;
        - for regression ``"ridge"``, ``"svr"``, ``"knn"`` and ``"forest"``; None is
          ``("ridge", "svr")``.

        An empty sequence leaves this strategy out.

    unfreeze : sequence or None, default=("head", 1)
        Values of ``unfreeze`` for the fine-tuned estimator. None or an empty sequence
        leaves this strategy out.

    weights : str, path, None or dict, default="default"
        Weights of the networks; a dict gives them by the name of the backbone, and
        backbones that it does not name get ``"default"``.

    image_size, image_shape, cache, device, random_state
        Passed to every estimator that has such a parameter.

    features : dict or None, default=None
        More parameters of ``PretrainedFeatures``; a list or tuple of values is a
        choice that the search makes, as in ``{"pool": ["avg", "avgmax"]}``.

    fine_tuning : dict or None, default=None
        More parameters of the fine-tuned estimator, in the same way:
        ``{"lr": [1e-4, 1e-3], "max_epochs": [10]}``.

    sampling : {"grid", "random"}, default="grid"
        ``"grid"`` gives lists of values. ``"random"`` gives distributions for what is
        continuous (``C``, ``gamma``, ``alpha``, ``lr``), for ``RandomizedSearchCV``
        and ``HalvingRandomSearchCV``.

    Returns
    -------
    estimator : Pipeline
        To search over; as it is, the first candidate.

    param_grid : list of dict
        One dict for each head and for fine-tuning.

    See Also
    --------
    prime : Embeds what a search will need once, before workers start.
    compare : Answers the same question with baselines, intervals and costs.

    Notes
    -----
    Images are embedded once for each backbone, however many candidates and folds
    there are, as long as ``cache`` is not None. With ``n_jobs`` above 1, call
    :func:`prime` before the search: the network then runs in this process, on its GPU
    if there is one, and workers that only train heads do not even import torch.

    For Optuna and other optimisers that suggest one value at a time, number the
    candidates: ``candidates = ParameterGrid(param_grid)``, then
    ``estimator.set_params(**candidates[trial.suggest_int("i", 0,
    len(candidates) - 1)])``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktl.model_selection import strategy_grid
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> estimator, grid = strategy_grid(["lenet5"], heads=["logistic"], unfreeze=None)
    >>> grid[0]["model__head__C"]
    [0.01, 0.1, 1.0]
    >>> search = GridSearchCV(estimator, grid, cv=3).fit(X[:60], y[:60])
    >>> bool(search.best_score_ > 0.9)
    True
    """
    backbones = [backbones] if isinstance(backbones, str) else list(backbones)
    if not backbones:
        raise ValueError("backbones is empty. Name at least one network.")
    check_names(weights, backbones)
    heads = [heads] if isinstance(heads, str) else heads
    shared = {
        "image_size": image_size,
        "image_shape": image_shape,
        "cache": cache,
        "device": device,
        "random_state": random_state,
    }
    grids = []
    for group, group_weights in _by_weights(backbones, weights):
        common = {**shared, "backbone": group[0], "weights": group_weights}
        for head in default_heads(task) if heads is None else heads:
            grids.append(_frozen_grid(head, task, group, common, features, sampling))
        if unfreeze is not None and len(unfreeze):
            grids.append(
                _fine_tuning_grid(
                    list(unfreeze), task, group, common, fine_tuning, sampling
                )
            )
    if not grids:
        raise ValueError(
            "heads and unfreeze are both empty, which leaves nothing to search over. "
            "Give at least one head, or one value of unfreeze."
        )
    return Pipeline([("model", grids[0]["model"][0])]), grids


def default_heads(task: str) -> tuple[str, ...]:
    """Return the heads that are tried when none are named."""
    return ("logistic", "svc") if task == "classification" else ("ridge", "svr")


def frozen_model(features: BaseEstimator, head: BaseEstimator) -> Pipeline:
    """Return features → scaler → head."""
    return Pipeline(
        [("features", features), ("scaler", StandardScaler()), ("head", head)]
    )


def fine_tuned_class(task: str) -> type[BaseEstimator]:
    """Return the fine-tuned estimator of a task; imports torch."""
    from sktl.finetune import FineTunedClassifier, FineTunedRegressor

    return FineTunedClassifier if task == "classification" else FineTunedRegressor


def _by_weights(backbones: Sequence, weights) -> Iterable[tuple[list, Any]]:
    """Yield backbones that share their weights, so that one dict holds them."""
    groups: list[tuple[list, Any]] = []
    for backbone in backbones:
        wanted = weights_of(backbone, weights)
        for group, known in groups:
            if known == wanted:
                group.append(backbone)
                break
        else:
            groups.append(([backbone], wanted))
    yield from groups


def _frozen_grid(
    head, task: str, backbones: list, common: dict, features: dict | None, sampling: str
) -> dict[str, list]:
    """Return the part of the grid with one head on frozen features."""
    estimator, grid = head_and_grid(head, task, common["random_state"])
    fixed, choices = fixed_and_choices(features)
    extractor = PretrainedFeatures(**{**common, **fixed})
    return {
        "model": [frozen_model(extractor, estimator)],
        "model__features__backbone": backbones,
        **{f"model__features__{name}": values for name, values in choices.items()},
        **{
            f"model__head__{name}": _spread(name, values, sampling)
            for name, values in grid.items()
        },
    }


def _fine_tuning_grid(
    unfreeze: list,
    task: str,
    backbones: list,
    common: dict,
    fine_tuning: dict | None,
    sampling: str,
) -> dict[str, list]:
    """Return the part of the grid with fine-tuning."""
    fixed, choices = fixed_and_choices(fine_tuning)
    return {
        "model": [fine_tuned_class(task)(**{**common, **fixed})],
        "model__backbone": backbones,
        "model__unfreeze": unfreeze,
        **{
            f"model__{name}": _spread(name, values, sampling)
            for name, values in choices.items()
        },
    }


def fixed_and_choices(params: Mapping | None) -> tuple[dict, dict]:
    """Return parameters that are set, and those among whose values to choose."""
    params = params or {}
    choices = {
        name: list(values)
        for name, values in params.items()
        if isinstance(values, list | tuple)
    }
    return {k: v for k, v in params.items() if k not in choices}, choices


def _spread(name: str, values: list, sampling: str):
    """Return the distribution between the least and the largest of some rates."""
    if sampling == "grid" or name not in ("C", "alpha", "gamma", "lr"):
        return values
    if len(values) < 2 or not all(isinstance(value, float) for value in values):
        return values
    return loguniform(min(values), max(values))
