"""The probe: a linear head solved on frozen embeddings, before anything is trained.

It shrinks its weights as much as held-out rows ask for. With fewer images than
features, the usual ``C=1`` separates them without error and far too sure of itself:
fine-tuning then has nothing left to learn, and what it takes from the few rows that a
random view puts on the wrong side wrecks the start
(benchmarks/study_finetune_defaults.md has the figures).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from sktl._blas import one_blas_thread

# How freely weights may grow, from hardly at all to hardly restrained: the C of a
# logistic regression, and 1/alpha of a ridge regression.
FREEDOMS = tuple(10.0**power for power in range(-5, 2))
# The best freedom hardly depends on the number of rows, so a part is enough to tell.
N_FOLDS, N_ROWS = 3, 1000


@one_blas_thread()
def probe_classes(
    embeddings: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    counts: np.ndarray,
    n_classes: int,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and biases of a logistic regression on embeddings.

    Parameters
    ----------
    embeddings : ndarray of shape (n, n_features)
        What the head sees before anything is trained.
    y : ndarray of shape (n,), or (n, n_classes) for several labels per image
        Class numbers, or indicators.
    weight : ndarray of shape (n,)
        Weight of each row in the loss.
    counts : ndarray of shape (n,)
        How often each row occurs: what standardisation goes by. Class weights have no
        part in it, or a class of weight 0 would lie far off the scale.
    n_classes : int
        Outputs of the head; a class without rows gets a low, constant score.
    groups : ndarray of shape (n,), default=None
        Rows of one group are held out together.

    Returns
    -------
    coef : ndarray of shape (n_classes, n_features)
        Weights in the units of the embeddings: the standardisation is folded in.
    intercept : ndarray of shape (n_classes,)
        Biases.
    """
    scaler = StandardScaler().fit(embeddings, sample_weight=counts)
    Z = scaler.transform(embeddings)
    if y.ndim == 2:
        columns = [
            _solve(Z, y[:, j].astype(int), weight, 2, groups) for j in range(n_classes)
        ]
        # Two opposite logits become the one logit that a sigmoid wants.
        coef = np.stack([c[1] - c[0] for c, _ in columns])
        intercept = np.stack([b[1] - b[0] for _, b in columns])
    else:
        coef, intercept = _solve(Z, y, weight, n_classes, groups)
    return _fold(coef, intercept, scaler)


@one_blas_thread()
def probe_targets(
    embeddings: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and biases of a ridge regression on embeddings.

    As :func:`probe_classes`, for targets ``y`` of shape (n, n_targets).
    """
    scaler = StandardScaler().fit(embeddings, sample_weight=weight)
    Z = scaler.transform(embeddings)
    # The penalty of scikit-learn is per row, so weights have to sum to n.
    weight = weight * len(weight) / weight.sum()
    folds = list(_folds(np.zeros(len(y), dtype=int), weight, groups))

    def loss(freedom: float) -> float:
        total = 0.0
        for fitted, held in folds:
            ridge = Ridge(alpha=1 / freedom)
            ridge.fit(Z[fitted], y[fitted], sample_weight=weight[fitted])
            errors = (ridge.predict(Z[held]).reshape(y[held].shape) - y[held]) ** 2
            total += float(weight[held] @ errors.reshape(len(errors), -1).sum(1))
        return total

    ridge = Ridge(alpha=1 / (_freedom(loss) if folds else 1.0))
    ridge.fit(Z, y, sample_weight=weight)
    return _fold(np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_), scaler)


def _solve(
    Z: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    n_classes: int,
    groups: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Solve a logistic regression; return one row of weights for each class."""
    present = np.unique(y)
    coef = np.zeros((n_classes, Z.shape[1]))
    # A class that has no rows: as unlikely as one row among n would make it.
    intercept = np.full(n_classes, -np.log(len(y) + 1.0))
    if len(present) == 1:
        intercept[present] = 0.0
        return coef, intercept
    solver = LogisticRegression(C=_freedom_of(Z, y, weight, groups), max_iter=1000)
    solver.fit(Z, y, sample_weight=weight)
    if len(present) == 2:  # scikit-learn solves one logit for two classes
        half, bias = solver.coef_[0] / 2, solver.intercept_[0] / 2
        coef[present] = np.stack([-half, half])
        intercept[present] = [-bias, bias]
    else:
        coef[present] = solver.coef_
        intercept[present] = solver.intercept_
    return coef, intercept


def _freedom_of(
    Z: np.ndarray, y: np.ndarray, weight: np.ndarray, groups: np.ndarray | None
) -> float:
    """Return the C whose probabilities suit held-out rows best."""
    parts = []
    for fitted, held in _folds(y, weight, groups):
        known = np.unique(y[fitted])
        held = held[np.isin(y[held], known)]
        if len(known) > 1 and len(held):
            # From strong to weak penalties, each solution is the next one's start.
            solver = LogisticRegression(warm_start=True, tol=1e-3, max_iter=1000)
            parts.append((solver, fitted, held, np.searchsorted(known, y[held])))
    if not parts:
        return 1.0

    def loss(freedom: float) -> float:
        total = 0.0
        for solver, fitted, held, codes in parts:
            solver.C = freedom
            solver.fit(Z[fitted], y[fitted], sample_weight=weight[fitted])
            likely = solver.predict_log_proba(Z[held])[np.arange(len(held)), codes]
            total -= float(weight[held] @ likely)
        return total

    return _freedom(loss)


def _freedom(loss: Callable[[float], float]) -> float:
    """Return the freedom of least loss; past it, two that are no better end the way."""
    losses: list[float] = []
    for freedom in FREEDOMS:
        losses.append(loss(freedom))
        if len(losses) - 1 - int(np.argmin(losses)) == 2:
            break
    return FREEDOMS[int(np.argmin(losses))]


def _folds(
    y: np.ndarray, weight: np.ndarray, groups: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows to fit and rows to hold out: classes in proportion, groups whole.

    Nothing is drawn. Training rows come in the order of their fingerprints, which is
    as good as a random one, and the same whatever the order of X.
    """
    counted = np.flatnonzero(weight > 0)[:N_ROWS]
    members = counted if groups is None else groups[counted]
    _, first, group = np.unique(members, return_index=True, return_inverse=True)
    # Deal the groups of each class out in turn.
    label = y[counted][first]
    fold = np.zeros(len(first), dtype=int)
    for value in np.unique(label):
        same = np.flatnonzero(label == value)
        fold[same] = np.arange(len(same)) % N_FOLDS
    for number in range(N_FOLDS):
        out = (fold == number)[group.ravel()]
        if out.any() and not out.all():
            yield counted[~out], counted[out]


def _fold(
    coef: np.ndarray, intercept: np.ndarray, scaler: StandardScaler
) -> tuple[np.ndarray, np.ndarray]:
    """Fold a standardisation of the inputs into a linear layer."""
    folded = coef / scaler.scale_
    return folded, intercept - folded @ scaler.mean_
