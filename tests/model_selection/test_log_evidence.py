"""LogME: the fixed point is the maximum of the evidence."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.linear_model import BayesianRidge

from sktl.model_selection import log_evidence


def highest_by_search(features, y):
    """Return the maximum of the density of y over both precisions."""

    def minus_log_density(logs):
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(y)) / beta + features @ features.T / alpha
        return -multivariate_normal.logpdf(y, cov=covariance)

    starts = [(0.0, 0.0), (3.0, 1.0), (-2.0, 2.0)]
    best = min(
        minimize(minus_log_density, start, method="Nelder-Mead").fun for start in starts
    )
    return -best / len(y)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (40, 40), (30, 70)])
def test_is_the_maximum_of_the_density_of_the_targets(n, d):
    rng = np.random.default_rng(n + d)
    features = rng.normal(size=(n, d)) * rng.uniform(0.2, 3, d)
    y = features[:, 0] - features[:, 1] + rng.normal(size=n) * 1.5
    assert_allclose(
        log_evidence(features, y), highest_by_search(features, y), rtol=1e-4
    )


def test_agrees_with_bayesian_ridge():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 6))
    y = features @ rng.normal(size=6) + rng.normal(size=80)
    ridge = BayesianRidge(
        alpha_1=0,
        alpha_2=0,
        lambda_1=0,
        lambda_2=0,
        fit_intercept=False,
        compute_score=True,
        tol=1e-8,
    ).fit(features, y)
    assert_allclose(log_evidence(features, y), ridge.scores_[-1] / 80, rtol=1e-4)


def test_classes_are_averaged_one_hot_columns():
    rng = np.random.default_rng(1)
    y = np.array(["a", "b", "c"])[rng.integers(3, size=50)]
    features = rng.normal(size=(50, 4))
    columns = [(y == label).astype(float) for label in "abc"]
    expected = np.mean([log_evidence(features, column) for column in columns])
    assert_allclose(log_evidence(features, y), expected)


def test_is_finite_where_features_explain_everything():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(10, 30))
    assert np.isfinite(log_evidence(features, np.arange(10) % 2))
    assert np.isfinite(log_evidence(np.ones((10, 3)), np.arange(10) % 2))


def test_features_that_tell_nothing_are_no_better_than_none():
    y = np.array([0.0, 1.0] * 20)
    features = np.tile([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [-1.0, -2.0]], (10, 1))
    assert abs(features.T @ y).max() == 0
    none = multivariate_normal.logpdf(y, cov=np.eye(40) * np.mean(y**2)) / 40
    assert_allclose(log_evidence(features, y, discrete=False), none)


def test_refuses_targets_of_zeros():
    with pytest.raises(ValueError, match="y is 0 for every image"):
        log_evidence(np.ones((4, 2)), np.zeros(4))


def test_does_not_depend_on_the_scale_of_features():
    rng = np.random.default_rng(3)
    features, y = rng.normal(size=(40, 8)), rng.integers(2, size=40)
    assert_allclose(
        log_evidence(features, y), log_evidence(1000 * features, y), rtol=1e-4
    )
