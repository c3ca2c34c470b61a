"""The probe: a linear head solved on frozen embeddings, before anything is trained.

Its penalty is chosen by cross-validation. With fewer images than features, the usual
``C=1`` separates them without error and is far too confident: fine-tuning then has
nothing left to learn, and corrects the few misclassified views with steps that ruin the
head (benchmarks/study_finetune_defaults.md has the figures).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.preprocessing import StandardScaler

from sktl._blas import one_blas_thread
from sktl.finetune._training_rows import TrainingRows

# From the strongest penalty to the weakest: the C of a logistic regression, and
# 1/alpha of a ridge regression.
INVERSE_PENALTIES = tuple(10.0**power for power in range(-5, 2))
# The best penalty hardly depends on the number of rows, so a part of them is enough.
N_FOLDS, N_ROWS = 3, 1000

Layer = tuple[np.ndarray, np.ndarray]


@one_blas_thread()
def solve_classes(embeddings: np.ndarray, rows: TrainingRows, n_classes: int) -> Layer:
    """Return weights and biases of a logistic regression on embeddings.

    ``rows.y`` holds class numbers, or indicators for several labels per image. A class
    without rows gets a low, constant score. Rows are standardised by ``rows.counts``:
    with class weights, a class of weight 0 would be off the scale. The scale is folded
    into the result, which is in the units of the embeddings.
    """
    scaler = StandardScaler().fit(embeddings, sample_weight=rows.counts)
    Z = scaler.transform(embeddings)
    if rows.y.ndim == 2:
        columns = [
            _logistic(Z, rows.y[:, j].astype(int), rows, 2) for j in range(n_classes)
        ]
        # Two opposite logits become the one logit that a sigmoid wants.
        coef = np.stack([c[1] - c[0] for c, _ in columns])
        intercept = np.stack([b[1] - b[0] for _, b in columns])
    else:
        coef, intercept = _logistic(Z, rows.y, rows, n_classes)
    return _unscaled(coef, intercept, scaler)


@one_blas_thread()
def solve_numbers(embeddings: np.ndarray, rows: TrainingRows, y: np.ndarray) -> Layer:
    """Return weights and biases of a ridge regression of ``y`` on embeddings."""
    weight = rows.weight * len(rows.weight) / rows.weight.sum()
    scaler = StandardScaler().fit(embeddings, sample_weight=weight)
    Z = scaler.transform(embeddings)
    some = slice(N_ROWS)
    folds = None  # leaves out one row at a time, by an exact formula
    if rows.groups is not None:
        no_classes = np.zeros(len(Z), dtype=int)
        folds = list(_folds(no_classes[some], weight[some], rows.groups[some])) or None
    search = RidgeCV([1 / freedom for freedom in INVERSE_PENALTIES], cv=folds)
    search.fit(Z[some], y[some], sample_weight=weight[some])
    ridge = Ridge(alpha=search.alpha_).fit(Z, y, sample_weight=weight)
    return _unscaled(
        np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_), scaler
    )


def _logistic(
    Z: np.ndarray, y: np.ndarray, rows: TrainingRows, n_classes: int
) -> Layer:
    """Solve a logistic regression; return one row of weights for each class."""
    present = np.unique(y)
    coef = np.zeros((n_classes, Z.shape[1]))
    # A class without rows: as unlikely as one row among n would make it.
    intercept = np.full(n_classes, -np.log(len(y) + 1.0))
    if len(present) == 1:
        intercept[present] = 0.0
        return coef, intercept
    solver = LogisticRegression(C=_best_C(Z, y, rows), max_iter=1000)
    solver.fit(Z, y, sample_weight=rows.weight)
    if len(present) == 2:  # scikit-learn solves one logit for two classes
        half, bias = solver.coef_[0] / 2, solver.intercept_[0] / 2
        coef[present] = np.stack([-half, half])
        intercept[present] = [-bias, bias]
    else:
        coef[present] = solver.coef_
        intercept[present] = solver.intercept_
    return coef, intercept


def _best_C(Z: np.ndarray, y: np.ndarray, rows: TrainingRows) -> float:  # noqa: N802
    """Return the C whose probabilities fit held-out rows best.

    LogisticRegressionCV would solve the weakest penalties too, which take most of the
    time, and refuses folds that lack a class.
    """
    weight, parts = rows.weight, []
    for fitted, held in _folds(y, weight, rows.groups):
        known = np.unique(y[fitted])
        held = held[np.isin(y[held], known)]
        if len(known) > 1 and len(held):
            # From strong to weak penalties, each solution is the start of the next.
            solver = LogisticRegression(warm_start=True, tol=1e-3, max_iter=1000)
            parts.append((solver, fitted, held, np.searchsorted(known, y[held])))
    if not parts:
        return 1.0
    losses: list[float] = []
    for C in INVERSE_PENALTIES:
        losses.append(0.0)
        for solver, fitted, held, codes in parts:
            solver.set_params(C=C)
            solver.fit(Z[fitted], y[fitted], sample_weight=weight[fitted])
            likely = solver.predict_log_proba(Z[held])[np.arange(len(held)), codes]
            losses[-1] -= float(weight[held] @ likely)
        if len(losses) - 1 - int(np.argmin(losses)) == 2:
            break  # two weaker penalties in a row were no better
    return INVERSE_PENALTIES[int(np.argmin(losses))]


def _folds(
    y: np.ndarray, weight: np.ndarray, groups: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows to fit and rows to hold out: classes in proportion, groups whole.

    There is no random draw. Training rows come in the order of their fingerprints,
    which is as good as a random one, and the same whatever the order of X.
    """
    counted = np.flatnonzero(weight > 0)[:N_ROWS]
    members = counted if groups is None else groups[counted]
    _, first, group = np.unique(members, return_index=True, return_inverse=True)
    # Deal out the groups of each class in turn.
    label = y[counted][first]
    fold = np.zeros(len(first), dtype=int)
    for value in np.unique(label):
        same = np.flatnonzero(label == value)
        fold[same] = np.arange(len(same)) % N_FOLDS
    for number in range(N_FOLDS):
        out = (fold == number)[group.ravel()]
        if out.any() and not out.all():
            yield counted[~out], counted[out]


def _unscaled(coef: np.ndarray, intercept: np.ndarray, scaler: StandardScaler) -> Layer:
    """Fold the standardisation of the inputs into a linear layer."""
    coef = coef / scaler.scale_
    return coef, intercept - coef @ scaler.mean_
