"""``strategy_grid``: one search space over frozen features and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping

from scipy.stats import loguniform
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import StrOptions, validate_params

from sktl.features import PretrainedFeatures
from sktl.model_selection._extractors import check_backbones, weights_of
from sktl.model_selection._heads import default_heads, read_head


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

    One search then chooses between heads on frozen features and fine-tuning, on the
    same folds and by the same score. It is plain scikit-learn: the estimator is a
    :class:`~sklearn.pipeline.Pipeline` with one step, ``"model"``, which the grid
    replaces. The grid is a list of dicts that you can print, edit and join.

    Parameters
    ----------
    backbones : sequence of str, default=("pocket",)
        Names of networks, modules, or callables that return a module.
    task : {"classification", "regression"}, default="classification"
        Which heads and which fine-tuned estimator to use.
    heads : sequence or None, default=None
        What is trained on standardised frozen features. Each head is a name, an
        estimator, or a pair of an estimator and its grid. Names are

        - ``"logistic"``, ``"svc"``, ``"linear_svc"``, ``"knn"`` and ``"forest"`` for
          classification; None means the first two;
        - ``"ridge"``, ``"svr"``, ``"knn"`` and ``"forest"`` for regression; None means
          the first two.

        An empty sequence leaves this strategy out.
    unfreeze : sequence or None, default=("head", 1)
        Values of ``unfreeze`` for the fine-tuned estimator. None or an empty sequence
        leaves this strategy out.
    weights, image_size, image_shape, cache, device, random_state
        Passed to every estimator. A dict gives weights by the name of the backbone;
        backbones it does not name get ``"default"``.
    features : dict or None, default=None
        More parameters of ``PretrainedFeatures``. The search chooses from a list or
        tuple of values: ``{"pool": ["avg", "avgmax"]}``.
    fine_tuning : dict or None, default=None
        More parameters of the fine-tuned estimator, in the same way:
        ``{"lr": [1e-4, 1e-3], "max_epochs": 10}``.
    sampling : {"grid", "random"}, default="grid"
        ``"grid"`` gives lists of values. ``"random"`` gives distributions of
        continuous parameters (``C``, ``gamma``, ``alpha``, ``lr``), for
        ``RandomizedSearchCV`` and ``HalvingRandomSearchCV``.

    Returns
    -------
    estimator : Pipeline
        The estimator to search over. Unchanged, it is the first candidate.

    param_grid : list of dict
        One dict for each head, and one for fine-tuning.

    See Also
    --------
    prime : Embeds all images once, before the workers of a search start.
    compare : Adds baselines, confidence intervals and costs.

    Notes
    -----
    Each backbone sees each image once, however many candidates and folds there are,
    unless ``cache`` is None. With ``n_jobs`` above 1, call :func:`prime` first.

    Optuna and other optimisers suggest one value at a time. Number the candidates for
    them: ``candidates = ParameterGrid(param_grid)``, then
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
    heads = [heads] if isinstance(heads, str) else heads
    by_weights: list[tuple[list, object]] = []
    for backbone in check_backbones(backbones, weights):
        wanted = weights_of(backbone, weights)
        group = next((group for group, known in by_weights if known == wanted), None)
        if group is None:
            by_weights.append(([backbone], wanted))
        else:
            group.append(backbone)
    grids: list[dict[str, list]] = []
    for group, group_weights in by_weights:
        common = {
            "backbone": group[0],
            "weights": group_weights,
            "image_size": image_size,
            "image_shape": image_shape,
            "cache": cache,
            "device": device,
            "random_state": random_state,
        }
        for head in default_heads(task) if heads is None else heads:
            fixed, choices = fixed_and_choices(features)
            extractor = PretrainedFeatures(**{**common, **fixed})
            _, estimator, head_grid = read_head(head, task, random_state)
            grids.append(
                {
                    "model": [frozen_model(extractor, estimator)],
                    "model__features__backbone": group,
                    **_prefixed("model__features__", choices, "grid"),
                    **_prefixed("model__head__", head_grid, sampling),
                }
            )
        if unfreeze is not None and len(unfreeze):
            fixed, choices = fixed_and_choices(fine_tuning)
            grids.append(
                {
                    "model": [fine_tuned_class(task)(**{**common, **fixed})],
                    "model__backbone": group,
                    "model__unfreeze": list(unfreeze),
                    **_prefixed("model__", choices, sampling),
                }
            )
    if not grids:
        raise ValueError(
            "heads and unfreeze are both empty, so there is nothing to search over. "
            "Pass at least one head, or one value of unfreeze."
        )
    return Pipeline([("model", grids[0]["model"][0])]), grids


def frozen_model(features: BaseEstimator, head: BaseEstimator) -> Pipeline:
    """Return features → scaler → head."""
    return Pipeline(
        [("features", features), ("scaler", StandardScaler()), ("head", head)]
    )


def fine_tuned_class(task: str) -> type[BaseEstimator]:
    """Return the fine-tuned estimator of a task; imports torch."""
    from sktl.finetune import FineTunedClassifier, FineTunedRegressor

    return FineTunedClassifier if task == "classification" else FineTunedRegressor


def fixed_and_choices(params: Mapping | None) -> tuple[dict, dict]:
    """Return the parameters with one value, and those with several to choose from."""
    params = params or {}
    choices = {
        name: list(values)
        for name, values in params.items()
        if isinstance(values, list | tuple)
    }
    return {k: v for k, v in params.items() if k not in choices}, choices


def _prefixed(prefix: str, grid: Mapping, sampling: str) -> dict:
    """Return a part of the grid under the names that the search uses."""
    return {
        prefix + name: values if sampling == "grid" else _spread(name, values)
        for name, values in grid.items()
    }


def _spread(name: str, values: list):
    """Return the distribution between the least and the largest of some rates."""
    if name not in ("C", "alpha", "gamma", "lr"):
        return values
    if len(values) < 2 or not all(isinstance(value, float) for value in values):
        return values
    return loguniform(min(values), max(values))
