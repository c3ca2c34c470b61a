"""``prime``: embed what a search will need before its workers start."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from sktl.engine import FrozenPart, images_embedded
from sktl.features import PretrainedFeatures
from sktl.model_selection._candidates import candidates, is_search
from sktl.model_selection._table import Column, as_frame, as_html, as_text, significant

_COLUMNS: list[Column] = [
    ("backbone", "backbone", None),
    ("layers", "after", None),
    ("image_size", "size", None),
    ("images", "images", None),
    ("embedded", "embedded", None),
    ("seconds", "seconds", significant),
]


@dataclass(frozen=True)
class Priming:
    """What :func:`prime` did.

    Attributes
    ----------
    table : list of dict
        One row for each network, cut and setting that the search will ask for: the
        backbone, the layers after which it is cut, the size at which it sees images,
        how many images there are, how many went through the network now, and the
        seconds it took.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import PretrainedFeatures
    >>> from sktl.model_selection import prime
    >>> X, _ = load_digits(return_X_y=True)
    >>> print(prime(PretrainedFeatures("lenet5"), X[:10]).table[0]["images"])
    10
    """

    table: list[dict] = field(default_factory=list)

    @property
    def embedded(self) -> int:
        """Images that went through a network; what was in the cache is not counted."""
        return sum(row["embedded"] for row in self.table)

    @property
    def seconds(self) -> float:
        """Time that it took."""
        return sum(row["seconds"] for row in self.table)

    def to_frame(self):
        """Return the table as a pandas data frame."""
        return as_frame(self.table, "Priming.to_frame")

    def __repr__(self) -> str:
        return as_text(self.table, _COLUMNS)

    def _repr_html_(self) -> str:
        caption = f"{self.embedded} images embedded in {self.seconds:.1f} s"
        return as_html(self.table, _COLUMNS, caption, best=-1)


def prime(estimator, X, y=None):
    """Embed everything that a search or estimator will need, once, in this process.

    Workers of a search with ``n_jobs`` above 1 then find every embedding in the
    store: only this process loads networks (on its GPU if there is one), and workers
    that train heads on frozen features never import torch.

    Parameters
    ----------
    estimator : estimator
        A search (``GridSearchCV``, ``RandomizedSearchCV``, halving ones, ...), a
        pipeline, or any estimator that holds ``PretrainedFeatures`` or fine-tuned
        estimators somewhere inside. It is neither fitted nor changed.

    X : array-like of images
        What the search will be fitted to.

    y : array-like, default=None
        The targets. Needed only when something in front of the images, or a
        fine-tuned estimator, is fitted with them.

    Returns
    -------
    priming : Priming
        What was embedded; prints as a table.

    Raises
    ------
    ValueError
        If an estimator has ``cache=None``, since nothing would be kept; if there is no
        network in the estimator; or if one is drawn from a distribution.

    Notes
    -----
    Embeddings go where each estimator's ``cache`` says: with ``"session"`` they serve
    all processes of this run.

    With a GPU, searches with ``n_jobs`` above 1 need this: without it, every worker
    would open the same GPU, load the network there and embed its share of the images.
    Fine-tuning itself still runs in the workers; give it ``n_jobs=1`` on a GPU.

    For a fine-tuned estimator, the embeddings that start its head and the activations
    at its cut are computed, those of its fixed views (``n_views``) included; frozen
    stages that run anew in each epoch (live augmentation) cannot be.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktl.engine import images_embedded
    >>> from sktl.model_selection import prime, strategy_grid
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> search = GridSearchCV(*strategy_grid("lenet5", unfreeze=None), cv=3)
    >>> priming = prime(search, X[:60])
    >>> before = images_embedded()
    >>> _ = search.fit(X[:60], y[:60])
    >>> images_embedded() - before
    0
    """
    tour = _Tour()
    tour.visit(estimator, X, y)
    if not tour.seen:
        raise ValueError(
            f"{type(estimator).__name__} holds no PretrainedFeatures and no fine-tuned "
            "estimator, so there is nothing to embed."
        )
    return Priming(tour.table)


class _Tour:
    """A walk through an estimator that stops at every frozen network, once.

    ``way`` says how the images in hand came from the X of the user: what was selected
    and what was transformed. Two stops with one way see the same images.
    """

    def __init__(self):
        self.table: list[dict] = []
        self.seen: set = set()

    def visit(self, estimator, X, y, way: tuple = ()) -> None:
        """Embed what the estimator will ask for when it is fitted to X."""
        if is_search(estimator):
            for candidate in candidates(estimator):
                self.visit(candidate, X, y, way)
        elif isinstance(estimator, PretrainedFeatures):
            self._embed(estimator, X, way)
        elif _is_fine_tuned(estimator):
            self._begin(estimator, X, y, way)
        elif isinstance(estimator, Pipeline):
            self._visit_steps([step for _, step in estimator.steps], X, y, way)
        elif isinstance(estimator, ColumnTransformer):
            for _, transformer, columns in estimator.transformers:
                if _holds_network(transformer):
                    columns = columns(X) if callable(columns) else columns
                    chosen = _safe_indexing(X, columns, axis=1)
                    self.visit(transformer, chosen, y, (*way, repr(columns)))
        else:
            for part in _parts(estimator):
                self.visit(part, X, y, way)

    def _visit_steps(self, steps: list, X, y, way: tuple) -> None:
        """Visit the steps up to the last one with a network; those before transform."""
        where = [i for i, step in enumerate(steps) if _holds_network(step)]
        for i, step in enumerate(steps[: where[-1] + 1] if where else []):
            self.visit(step, X, y, way)
            if i < where[-1] and step not in (None, "passthrough"):
                X = clone(step).fit(X, y).transform(X)
                way = (*way, repr(step))

    def _embed(self, features: PretrainedFeatures, X, way: tuple) -> None:
        """Embed X as one transformer would."""
        _check_cache(features)
        begun = clone(features).fit(X)
        key = (begun._part.key, repr(begun.cache), way)
        if key in self.seen:
            return
        self.seen.add(key)
        started, before = time.perf_counter(), images_embedded()
        begun.transform(X)
        self._note(begun._part, X, started, before)

    def _begin(self, estimator, X, y, way: tuple) -> None:
        """Compute what fine-tuning starts from: no epoch, but everything before it."""
        _check_cache(estimator)
        if y is None:
            raise ValueError(
                f"{type(estimator).__name__} needs the targets to be primed. Pass "
                "them: prime(search, X, y)."
            )
        begun = clone(estimator).set_params(
            max_epochs=0, lr=1e-3, early_stopping=False, train_split=None, verbose=0
        )
        key = (repr(sorted(begun.get_params().items())), way)
        if key in self.seen:
            return
        self.seen.add(key)
        started, before = time.perf_counter(), images_embedded()
        begun.fit(X, y).predict(X)
        self._note(begun.frozen_part_ or begun.embedding_part_, X, started, before)

    def _note(self, part: FrozenPart, X, started: float, before: int) -> None:
        """Add a row about what was embedded since ``started``."""
        height, width = part.recipe.size
        self.table.append(
            {
                "backbone": part.backbone.name,
                "layers": ", ".join(part.layers),
                "image_size": f"{height} x {width}",
                "images": _num_samples(X),
                "embedded": images_embedded() - before,
                "seconds": time.perf_counter() - started,
            }
        )


def _is_fine_tuned(estimator) -> bool:
    """Tell whether an estimator is of sktl.finetune, without importing it (torch)."""
    module = sys.modules.get("sktl.finetune")
    return module is not None and isinstance(
        estimator, module.FineTunedClassifier | module.FineTunedRegressor
    )


def _check_cache(estimator) -> None:
    """Refuse an estimator that would forget what is embedded for it."""
    if estimator.cache is None:
        raise ValueError(
            f"{type(estimator).__name__} has cache=None, so what is embedded now would "
            "be lost before the search starts. Set cache='session', or a path."
        )


def _parts(estimator) -> Iterator[BaseEstimator]:
    """Yield the estimators that another one holds, alone or in (name, est) lists."""
    if not hasattr(estimator, "get_params") or isinstance(estimator, type):
        return
    for value in estimator.get_params(deep=False).values():
        for item in value if isinstance(value, list | tuple) else [value]:
            for part in item if isinstance(item, list | tuple) else [item]:
                if hasattr(part, "get_params") and not isinstance(part, type):
                    yield part


def _holds_network(estimator) -> bool:
    """Tell whether a frozen network is anywhere in an estimator."""
    if isinstance(estimator, PretrainedFeatures) or _is_fine_tuned(estimator):
        return True
    return any(_holds_network(part) for part in _parts(estimator))
