"""LogME: how well a linear model could explain labels, without training one."""

from __future__ import annotations

import numpy as np
from scipy.linalg import svd
from sklearn.utils.validation import check_array, check_consistent_length

# Bayesian linear regression explains the targets exactly where there are more
# features than rows; then the noise is zero and the evidence infinite. Less noise
# than this share of the targets' energy counts as this share.
_LEAST_NOISE = 1e-10
_MOST_PRIOR = 1e12
_MAX_ITER = 1000


def log_evidence(features, y, *, discrete="auto", tol=1e-6) -> float:
    """Return LogME, the maximum log evidence of labels given features, per image.

    Labels are explained by a Bayesian linear model of the features. Its prior and
    noise are those that make the labels most probable, found by the fixed-point
    iteration of the paper on the singular values of the features. Higher is better;
    values compare networks on the same images and labels, nothing else.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Embeddings.

    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Classes or numbers. Classes become one column each, 1 for images of the class
        and 0 for the others, and the evidence of the columns is averaged.

    discrete : bool or "auto", default="auto"
        Whether y holds classes. ``"auto"`` takes floats for numbers.

    tol : float, default=1e-6
        Stop when the ratio of prior precision to noise precision changes by less
        than this share.

    Returns
    -------
    log_evidence : float
        Natural logarithm, divided by the number of images and averaged over columns.

    References
    ----------
    You, Liu, Wang and Long, "LogME: Practical Assessment of Pre-trained Models for
    Transfer Learning", ICML 2021, arXiv:2102.11005.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.model_selection import log_evidence
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 50)
    >>> telling, noise = y[:, None] + rng.normal(size=(2, 100, 5)) * [[[0.3]], [[9]]]
    >>> log_evidence(telling, y) > log_evidence(noise, y)
    True
    """
    features = check_array(features, dtype=np.float64)
    y = np.asarray(y)
    check_consistent_length(features, y)
    targets = _as_columns(y, discrete)
    energy = (targets**2).sum(axis=0)
    if not energy.all():
        raise ValueError("y is 0 for every image, so there is nothing to explain.")
    left, singular_values, _ = svd(features, full_matrices=False)
    rank = (
        singular_values
        > singular_values[0] * max(features.shape) * np.finfo(np.float64).eps
    )
    squares = singular_values[rank] ** 2
    along = (left[:, rank].T @ targets) ** 2
    n, d = features.shape
    evidence = [
        _maximise(squares, along[:, k], energy[k], n, d, tol)
        for k in range(targets.shape[1])
    ]
    return float(np.mean(evidence) / n)


def _as_columns(y: np.ndarray, discrete) -> np.ndarray:
    """Return labels as columns of floats, one for each class or target."""
    if discrete == "auto":
        discrete = y.dtype.kind != "f"
    if not discrete:
        return y.reshape(len(y), -1).astype(np.float64)
    return (y[:, None] == np.unique(y)[None]).astype(np.float64)


def _maximise(
    squares: np.ndarray, along: np.ndarray, energy: float, n: int, d: int, tol: float
) -> float:
    """Return the maximum log evidence of one column of targets.

    ``squares`` are the squared singular values of the features, ``along`` the squared
    parts of the target along the left singular vectors and ``energy`` its squared
    length. alpha is the precision of the weights, beta that of the noise.
    """
    outside = max(0.0, energy - along.sum())  # what no weights can explain
    alpha, beta = 1.0, n / energy
    for _ in range(_MAX_ITER):
        ratio = alpha / beta
        weights, residual = _solution(squares, along, outside, energy, ratio)
        effective = (squares / (squares + ratio)).sum()
        beta = max(n - effective, _LEAST_NOISE) / residual
        # Where the features tell nothing, the best prior allows no weights at all and
        # alpha grows without end; so far, nothing changes any more.
        alpha = min(effective / max(weights, 1e-300), _MOST_PRIOR * beta * squares[0])
        if abs(alpha / beta - ratio) <= tol * ratio:
            break
    weights, residual = _solution(squares, along, outside, energy, alpha / beta)
    log_det = np.log(alpha + beta * squares).sum() + (d - len(squares)) * np.log(alpha)
    return 0.5 * (
        n * np.log(beta)
        + d * np.log(alpha)
        - n * np.log(2 * np.pi)
        - beta * residual
        - alpha * weights
        - log_det
    )


def _solution(
    squares: np.ndarray, along: np.ndarray, outside: float, energy: float, ratio: float
) -> tuple[float, float]:
    """Return the squared lengths of the weights and of what they leave unexplained."""
    weights = (squares * along / (squares + ratio) ** 2).sum()
    unexplained = (along * (ratio / (squares + ratio)) ** 2).sum() + outside
    return float(weights), max(float(unexplained), _LEAST_NOISE * energy)
