"""The head: a linear layer, started at random or solved on frozen embeddings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from torch import nn


def make_head(
    head: str | Callable[[int, int], nn.Module], n_features: int, n_outputs: int
) -> nn.Module:
    """Return a new head, drawn from torch's random state."""
    if head == "linear":
        return nn.Linear(n_features, n_outputs)
    module = head(n_features, n_outputs)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"head={head!r} returned {type(module).__name__}. A head is a callable "
            "(n_features, n_outputs) -> torch.nn.Module."
        )
    return module


def probe_classes(
    embeddings: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    counts: np.ndarray,
    n_classes: int,
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
        columns = [_solve(Z, y[:, j].astype(int), weight, 2) for j in range(n_classes)]
        # Two opposite logits become the one logit that a sigmoid wants.
        coef = np.stack([c[1] - c[0] for c, _ in columns])
        intercept = np.stack([b[1] - b[0] for _, b in columns])
    else:
        coef, intercept = _solve(Z, y, weight, n_classes)
    return _fold(coef, intercept, scaler)


def probe_targets(
    embeddings: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and biases of a ridge regression on embeddings.

    As :func:`probe_classes`, for targets ``y`` of shape (n, n_targets).
    """
    scaler = StandardScaler().fit(embeddings, sample_weight=weight)
    # The unit penalty of scikit-learn is per row, so weights have to sum to n.
    weight = weight * len(weight) / weight.sum()
    ridge = Ridge(alpha=1.0).fit(scaler.transform(embeddings), y, sample_weight=weight)
    return _fold(np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_), scaler)


def _solve(
    Z: np.ndarray, y: np.ndarray, weight: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Solve a logistic regression; return one row of weights for each class."""
    present = np.unique(y)
    coef = np.zeros((n_classes, Z.shape[1]))
    # A class that has no rows: as unlikely as one row among n would make it.
    intercept = np.full(n_classes, -np.log(len(y) + 1.0))
    if len(present) == 1:
        intercept[present] = 0.0
        return coef, intercept
    solver = LogisticRegression(C=1.0, max_iter=1000)
    solver.fit(Z, y, sample_weight=weight)
    if len(present) == 2:  # scikit-learn solves one logit for two classes
        half, bias = solver.coef_[0] / 2, solver.intercept_[0] / 2
        coef[present] = np.stack([-half, half])
        intercept[present] = [-bias, bias]
    else:
        coef[present] = solver.coef_
        intercept[present] = solver.intercept_
    return coef, intercept


def _fold(
    coef: np.ndarray, intercept: np.ndarray, scaler: StandardScaler
) -> tuple[np.ndarray, np.ndarray]:
    """Fold a standardisation of the inputs into a linear layer."""
    folded = coef / scaler.scale_
    return folded, intercept - folded @ scaler.mean_


@torch.no_grad()
def fill_head(head: nn.Linear, coef: np.ndarray, intercept: np.ndarray) -> None:
    """Copy weights and biases into a linear layer."""
    head.weight.copy_(torch.from_numpy(np.ascontiguousarray(coef)))
    head.bias.copy_(torch.from_numpy(np.ascontiguousarray(intercept)))
