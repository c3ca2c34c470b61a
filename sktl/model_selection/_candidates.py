"""Which estimators a search will fit, as far as frozen networks are concerned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from numbers import Number

from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterGrid

# Names under which searches of scikit-learn and scikit-optimize keep what they try.
_SPACES = ("param_grid", "param_distributions", "search_spaces")

# Parameters of sktl's estimators that change what a frozen network computes.
_OF_NETWORKS = {
    *("backbone", "weights", "layers", "pool", "image_size", "image_shape"),
    *("value_range", "precision", "engine", "random_state", "unfreeze", "cache"),
    *("augment", "n_views", "head_init", "device"),
}


def is_search(estimator) -> bool:
    """Tell whether an estimator fits many candidates of another one."""
    return hasattr(estimator, "estimator") and space_of(estimator) is not None


def space_of(search):
    """Return what a search chooses from; None if it is no search."""
    for name in _SPACES:
        space = getattr(search, name, None)
        if isinstance(space, Mapping | list | tuple):
            return space
    return None


def candidates(search) -> Iterator[BaseEstimator]:
    """Yield an estimator for each setting that could change a frozen network.

    Values of which no network depends (``C`` and other numbers of heads) are not
    multiplied out: the first stands for all.
    """
    space = space_of(search)
    for grid in [space] if isinstance(space, Mapping) else space:
        # A search may hold pairs of a dict and a number of trials (scikit-optimize).
        grid = grid[0] if isinstance(grid, tuple) else grid
        names = list(grid)
        values = [_telling_values(name, grid[name]) for name in names]
        for chosen in product(*values):
            params = {
                name: clone(value, safe=False)
                for name, value in zip(names, chosen, strict=True)
            }
            yield clone(search.estimator).set_params(**params)


def _telling_values(name: str, values) -> list:
    """Return the values of a parameter that may lead to different networks."""
    concerns_networks = name.rpartition("__")[2] in _OF_NETWORKS
    if hasattr(values, "rvs"):
        if concerns_networks:
            raise ValueError(
                f"{name!r} is drawn from a distribution, so what the search will need "
                "cannot be known before it runs. Give the values as a list."
            )
        return [values.rvs(random_state=0)]
    # As scikit-learn reads a grid: a lone value counts as a list of one.
    values = [setting[name] for setting in ParameterGrid({name: list(values)})]
    if not concerns_networks and all(isinstance(v, Number) for v in values):
        return values[:1]
    return values
