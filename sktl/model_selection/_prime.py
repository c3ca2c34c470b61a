"""``prime``: embed what a search will need before its workers start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Number

from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from sktl.backbones import resolve
from sktl.engine import images_embedded
from sktl.features import AugmentedEstimator, PretrainedFeatures

# Parameters, beside those of PretrainedFeatures, that change what a network computes.
_OF_FINE_TUNING = {"unfreeze", "augment", "n_views", "head_init"}
_OF_NETWORKS = {*PretrainedFeatures().get_params(), *_OF_FINE_TUNING} - {
    *("batch_size", "on_error", "verbose")
}


def prime(estimator, X, y=None) -> int:
    """Embed everything that a search or estimator will need, once, in this process.

    Workers of a search with ``n_jobs`` above 1 then find every embedding in the
    store. Only this process loads networks (on the GPU if there is one), and workers
    that train heads on frozen features never import torch.

    Parameters
    ----------
    estimator : estimator
        A search (``GridSearchCV``, ``RandomizedSearchCV``, a halving search, ...), a
        pipeline, or any estimator with ``PretrainedFeatures`` or a fine-tuned
        estimator inside. It is neither fitted nor changed.
    X : array-like of images
        The images that the search will be fitted to.
    y : array-like, default=None
        The targets. Needed only by fine-tuned estimators, and by steps in front of a
        network that are fitted with them.

    Returns
    -------
    n_embedded : int
        Images that went through a network; those in the cache are not counted.

    Notes
    -----
    On a GPU, prime every search with ``n_jobs`` above 1. Otherwise each worker opens
    the GPU and loads the network. Fine-tuning itself still runs in the workers; use
    ``n_jobs=1`` for it on a GPU.

    For a fine-tuned estimator, this computes the embeddings that start its head and
    the activations at its cut, also for its fixed views (``n_views``). It cannot
    compute frozen stages that run again in each epoch (live augmentation).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktl.model_selection import prime, strategy_grid
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> search = GridSearchCV(*strategy_grid("lenet5", unfreeze=None), cv=3)
    >>> n_embedded = prime(search, X[:60])
    >>> prime(search, X[:60])
    0
    """
    before, seen = images_embedded(), set()
    for network, images, path in _networks_in(estimator, X, y):
        if network.cache is None:
            raise ValueError(
                f"{type(network).__name__} has cache=None, so what is embedded now "
                "would be lost before the search starts. Set cache='session', or a "
                "path."
            )
        network, is_frozen = clone(network), isinstance(network, PretrainedFeatures)
        if not is_frozen:
            # max_epochs=0 would need no views, and some other candidate may.
            network.set_params(
                max_epochs=1, early_stopping=False, train_split=None, verbose=0
            )
            if y is None:
                raise ValueError(
                    f"{type(network).__name__} cannot be primed without the targets. "
                    "Pass them: prime(search, X, y)."
                )
        params = repr(sorted(network.get_params().items()))
        backbone = resolve(network.backbone, network.weights, network.random_state)
        request = (backbone.name, backbone.fingerprint, params, path)
        if request not in seen:
            seen.add(request)
            if is_frozen:
                network.fit(images, y).transform(images)
            else:
                from sktl.finetune import compute_activations

                compute_activations(network, images, y)
                network.predict(images)
    if not seen:
        raise ValueError(
            f"{type(estimator).__name__} holds no PretrainedFeatures and no fine-tuned "
            "estimator, so there is nothing to embed."
        )
    return images_embedded() - before


def _networks_in(
    estimator, X, y, path: tuple[str, ...] = ()
) -> Iterator[tuple[BaseEstimator, object, tuple[str, ...]]]:
    """Yield every network in an estimator, with the images it will be fitted to.

    ``path`` holds the columns and steps through which these images came from X.
    """
    if _is_network(estimator):
        yield estimator, X, path
    elif _space_of(estimator) is not None:
        for candidate in _candidates_of(estimator):
            yield from _networks_in(candidate, X, y, path)
    elif isinstance(estimator, AugmentedEstimator):
        views = clone(estimator).views_of(X)
        drawn = repr((estimator.augment, estimator.n_views, estimator.random_state))
        yield from _networks_in(estimator.estimator, views, y, (*path, drawn))
    elif isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps]
        while steps and not _holds_network(steps[-1]):
            steps.pop()
        for i, step in enumerate(steps):
            yield from _networks_in(step, X, y, path)
            if i < len(steps) - 1 and step not in (None, "passthrough"):
                X = clone(step).fit(X, y).transform(X)
                path = (*path, repr(step))
    elif isinstance(estimator, ColumnTransformer):
        for _, transformer, columns in estimator.transformers:
            if _holds_network(transformer):
                columns = columns(X) if callable(columns) else columns
                chosen = _safe_indexing(X, columns, axis=1)
                yield from _networks_in(transformer, chosen, y, (*path, repr(columns)))
    else:
        for part in _parts_of(estimator):
            yield from _networks_in(part, X, y, path)


def _is_network(estimator) -> bool:
    """Tell whether an estimator is one of sktl's, without importing torch."""
    return isinstance(estimator, PretrainedFeatures) or hasattr(estimator, "unfreeze")


def _holds_network(estimator) -> bool:
    """Tell whether there is a network anywhere in an estimator."""
    return _is_network(estimator) or any(map(_holds_network, _parts_of(estimator)))


def _parts_of(estimator) -> Iterator[BaseEstimator]:
    """Yield the estimators in the parameters of another one, also in lists of steps."""
    if not hasattr(estimator, "get_params"):
        return
    for value in estimator.get_params(deep=False).values():
        for item in value if isinstance(value, list | tuple) else [value]:
            for part in item if isinstance(item, list | tuple) else [item]:
                if hasattr(part, "get_params") and not isinstance(part, type):
                    yield part


def _space_of(estimator) -> list | None:
    """Return the grids that a search chooses from; None if it is not a search."""
    if not hasattr(estimator, "estimator"):
        return None
    space = getattr(estimator, "param_grid", None)
    space = getattr(estimator, "param_distributions", space)
    return [space] if isinstance(space, Mapping) else space


def _candidates_of(search) -> Iterator[BaseEstimator]:
    """Yield an estimator for each setting of a search that may change a network."""
    for grid in _space_of(search) or ():
        values = {name: _values_that_matter(name, grid[name]) for name in grid}
        for params in ParameterGrid(values):
            copies = {name: clone(value, safe=False) for name, value in params.items()}
            yield clone(search.estimator).set_params(**copies)


def _values_that_matter(name: str, values) -> list:
    """Return the values of a parameter that may change a network, at least one."""
    is_of_network = name.rpartition("__")[2] in _OF_NETWORKS
    if not hasattr(values, "rvs"):
        # Numbers such as C concern only the head: one stands for all.
        only_heads = not is_of_network and all(isinstance(v, Number) for v in values)
        return list(values)[:1] if only_heads else list(values)
    if is_of_network:
        raise ValueError(
            f"{name!r} is drawn from a distribution, so what the search will need "
            "cannot be known before it runs. Pass a list of values."
        )
    return [values.rvs(random_state=0)]
