"""``strategy_grid``: heads on frozen features and fine-tuning in one search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scipy.stats import loguniform
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.utils._param_validation import StrOptions

from sktl._validate_params import validate_params
from sktl.features import PretrainedFeatures
from sktl.heads import ProbeClassifier, ProbeRegressor
from sktl.model_selection._extractors import backbones_with_weights

# A head and the values worth trying on 500 to 2000 scaled features: strong
# regularisation, since there are often more features than images.
Head = tuple[Callable[..., BaseEstimator], dict[str, list]]

_NEIGHBORS = {"n_neighbors": [1, 5, 15]}
_FOREST = {"max_features": ["sqrt", 0.2]}

_HEADS: dict[str, dict[str, Head]] = {
    "classification": {
        "logistic": (ProbeClassifier, {}),
        "svc": (SVC, {"C": [1.0, 10.0]}),
        "linear_svc": (LinearSVC, {"C": [0.0001, 0.001, 0.01]}),
        "knn": (KNeighborsClassifier, _NEIGHBORS),
        "forest": (RandomForestClassifier, _FOREST),
    },
    "regression": {
        "ridge": (ProbeRegressor, {}),
        "svr": (SVR, {"C": [1.0, 10.0, 100.0]}),
        "knn": (KNeighborsRegressor, _NEIGHBORS),
        "forest": (RandomForestRegressor, _FOREST),
    },
}


@validate_params(
    {
        "task": [StrOptions({"classification", "regression"})],
        "sampling": [StrOptions({"grid", "random"})],
    }
)
def strategy_grid(
    backbones=("efficientnet_lite0",),
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
) -> tuple:
    """Return an estimator and a parameter grid that span both strategies.

    One search then chooses between heads on frozen features and fine-tuning, on the
    same folds and by the same score. It is plain scikit-learn: the estimator is a
    :class:`~sklearn.pipeline.Pipeline` with one step, ``"model"``, which the grid
    replaces. The grid is a list of dicts that you can print, edit and join.

    Parameters
    ----------
    backbones : sequence of str, default=("efficientnet_lite0",)
        Names of networks, modules, or callables that return a module.
    task : {"classification", "regression"}, default="classification"
        Which heads and which fine-tuned estimator to use.
    heads : sequence or None, default=None
        What is trained on frozen features. Each head is a name, an estimator, or a
        pair of an estimator and its grid. Names are

        - ``"logistic"`` (:class:`~sktl.ProbeClassifier`), ``"svc"``, ``"linear_svc"``,
          ``"knn"`` and ``"forest"`` for classification; None means the first two;
        - ``"ridge"`` (:class:`~sktl.ProbeRegressor`), ``"svr"``, ``"knn"`` and
          ``"forest"`` for regression; None means the first two.

        A probe or a pipeline scales its features itself. Embeddings are normalised for
        an ``SVC``, and standardised for any other head.

        An empty sequence leaves this strategy out.
    unfreeze : sequence or None, default=("head", 1)
        Values of ``unfreeze`` for the fine-tuned estimator. None or an empty sequence
        leaves this strategy out.
    weights, image_size, image_shape, cache, device, random_state
        Passed to every estimator. A dict gives weights by the name of the backbone;
        backbones it does not name get ``"default"``.
    features, fine_tuning : dict or None, default=None
        More parameters of ``PretrainedFeatures`` and of the fine-tuned estimator. The
        search chooses from a list or tuple: ``{"lr": [1e-4, 1e-3], "max_epochs": 10}``.
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

    Notes
    -----
    Each backbone sees each image once, however many candidates and folds there are,
    unless ``cache`` is None. With ``n_jobs`` above 1, call :func:`prime` first.
    Optimisers that suggest one value at a time, such as Optuna, can choose the index
    of a candidate in ``sklearn.model_selection.ParameterGrid(param_grid)``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktl.model_selection import strategy_grid
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> estimator, grid = strategy_grid(["lenet5"], heads=["svc"], unfreeze=None)
    >>> grid[0]["model__head__C"]
    [1.0, 10.0]
    >>> search = GridSearchCV(estimator, grid, cv=3).fit(X[:60], y[:60])
    >>> bool(search.best_score_ > 0.9)
    True
    """
    heads = [heads] if isinstance(heads, str) else heads
    by_weights: list[tuple[list, Any]] = []
    for backbone, wanted in backbones_with_weights(backbones, weights):
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


def default_heads(task: str) -> tuple[str, str]:
    """Return the linear head and the kernel machine that are tried by default."""
    return ("logistic", "svc") if task == "classification" else ("ridge", "svr")


def read_head(head, task: str, random_state) -> tuple[str, BaseEstimator, dict]:
    """Return the name, the estimator and the grid that ``head`` stands for.

    ``head`` is a name, an estimator, or a pair of an estimator and its grid.
    """
    if isinstance(head, str):
        if head not in _HEADS[task]:
            raise ValueError(
                f"heads: {head!r} is not known for {task}. Pass one of "
                f"{', '.join(_HEADS[task])}, an estimator, or a pair (estimator, grid)."
            )
        make, grid = _HEADS[task][head]
        estimator = make()
        if "random_state" in estimator.get_params(deep=False):
            estimator.set_params(random_state=random_state)
        return head, estimator, grid
    is_pair = isinstance(head, tuple | list) and len(head) == 2
    estimator, grid = head if is_pair else (head, {})
    if not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
        raise ValueError(
            f"heads: {head!r} is not a head. Pass a name, an estimator, or a pair "
            "(estimator, grid)."
        )
    return type(estimator).__name__, clone(estimator), grid


def frozen_model(features: BaseEstimator, head: BaseEstimator) -> Pipeline:
    """Return features → scaler → head; a probe or a pipeline scales for itself."""
    scaler: Any = StandardScaler()
    if isinstance(head, ProbeClassifier | ProbeRegressor | Pipeline):
        scaler = "passthrough"
    elif isinstance(head, SVC) and isinstance(features, PretrainedFeatures):
        scaler = Normalizer()  # much better than StandardScaler on embeddings
    return Pipeline([("features", features), ("scaler", scaler), ("head", head)])


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
    found = dict(grid)
    for name in {"C", "alpha", "gamma", "lr"} & grid.keys():
        are_floats = len(grid[name]) > 1 and all(
            isinstance(v, float) for v in grid[name]
        )
        if sampling == "random" and are_floats:
            found[name] = loguniform(min(grid[name]), max(grid[name]))
    return {prefix + name: values for name, values in found.items()}
