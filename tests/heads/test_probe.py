"""The probe: a head that chooses its own penalty, and the whole contract of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from sktl import ProbeClassifier, ProbeRegressor
from sktl.heads._probe import INVERSE_PENALTIES, _Rows
from tests.contract import assert_whole_contract


@pytest.mark.parametrize(
    "estimator",
    [ProbeClassifier(), ProbeClassifier(class_weight="balanced"), ProbeRegressor()],
    ids=str,
)
def test_estimator_checks_pass_without_exception(estimator):
    assert_whole_contract(estimator, at_least=50)


@pytest.fixture(scope="module")
def wide():
    """Return 80 rows of 70 features that say little, and 400 more to test on."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 480)
    Z = rng.normal(size=(480, 70)) + 0.1 * (2 * y[:, None] - 1)
    return (Z[:80], y[:80]), (Z[80:], y[80:])


@pytest.mark.parametrize("n_rows", [80, 40])  # more rows than features, and fewer
@pytest.mark.parametrize("n_classes", [2, 3])
def test_probe_is_a_logistic_regression_on_features_scaled_halfway(
    wide, n_classes, n_rows
):
    Z = wide[0][0][:n_rows] * np.linspace(0.1, 5, 70)
    y = np.arange(n_rows) % n_classes
    variance = Z.var(axis=0)
    scaled = (Z - Z.mean(axis=0)) / np.sqrt(variance + variance.mean())
    found = ProbeClassifier().fit(Z, y).predict_proba(Z)
    references = [
        LogisticRegression(C=C, max_iter=1000).fit(scaled, y).predict_proba(scaled)
        for C in INVERSE_PENALTIES
    ]
    assert min(abs(found - reference).max() for reference in references) < 1e-3


def test_probe_of_few_rows_is_not_surer_than_it_may_be(wide):
    (Z, y), (Z_test, y_test) = wide
    own = log_loss(y_test, ProbeClassifier().fit(Z, y).predict_proba(Z_test))
    scaler = StandardScaler().fit(Z)
    usual = LogisticRegression().fit(scaler.transform(Z), y)
    usual = log_loss(y_test, usual.predict_proba(scaler.transform(Z_test)))
    assert own < 0.65 < 0.85 < usual


def test_regression_probe_of_few_rows_shrinks(wide):
    (Z, y), (Z_test, y_test) = wide
    own = ProbeRegressor().fit(Z, y).predict(Z_test)
    scaler = StandardScaler().fit(Z)
    usual = Ridge().fit(scaler.transform(Z), y).predict(scaler.transform(Z_test))
    assert ((own - y_test) ** 2).mean() < 0.5 * ((usual - y_test) ** 2).mean()


@pytest.mark.parametrize("n_labels", [1, 2])
def test_probe_learns_from_one_or_two_labels_per_class(n_labels):
    # LogisticRegressionCV refuses both.
    centres = 10 * np.eye(5, 30)
    y = np.repeat(list("abcde"), n_labels)
    Z = np.repeat(centres, n_labels, axis=0)
    Z = Z + np.random.default_rng(0).normal(size=Z.shape)
    found = ProbeClassifier().fit(Z, y)
    assert_array_equal(found.predict(centres), list("abcde"))


@pytest.mark.parametrize(
    ("kind", "part"), [(ProbeClassifier, 0.1), (ProbeRegressor, 0.7)]
)
def test_probe_holds_out_whole_groups(kind, part):
    # Neighbours tell everything about each other, groups nothing about other groups.
    rng = np.random.default_rng(0)
    y = np.repeat(rng.integers(0, 2, 40), 2)
    Z = np.repeat(rng.normal(size=(40, 200)), 2, axis=0)
    Z += 0.01 * rng.normal(size=Z.shape)
    pairs = np.repeat([f"pair {i}" for i in range(40)], 2)
    alone = kind().fit(Z, y).coef_
    together = kind().fit(Z, y, groups=pairs).coef_
    assert np.abs(together).max() < part * np.abs(alone).max()


@pytest.mark.parametrize("sizes", [(10, 10, 1), (7, 7, 7), (1,) * 21])
def test_regression_probe_chooses_by_all_held_out_rows_of_groups(sizes):
    # R2 by fold is not defined for a fold of one row.
    Z = np.random.default_rng(0).normal(size=(21, 3))
    y = 10 * Z @ [3.0, 2.0, 1.0]
    groups = np.repeat(range(len(sizes)), sizes)
    assert ProbeRegressor().fit(Z, y, groups=groups).score(Z, y) > 0.99


def test_held_out_groups_count_by_the_weights_of_their_rows():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, 5))
    y, weight = Z[:, 0].copy(), np.ones(60)
    y[::6], weight[::6] = -1e3 * y[::6], 1e-9
    groups = np.arange(60) // 2
    found = ProbeRegressor().fit(Z, y, sample_weight=weight, groups=groups)
    assert found.score(Z[weight > 0.5], y[weight > 0.5]) > 0.99


@pytest.mark.parametrize("n_groups", [2, 5])
def test_groups_that_hold_all_classes_are_held_out_too(n_groups):
    y = np.arange(60) % 3
    Z = np.random.default_rng(0).normal(size=(60, 40))
    rows = _Rows(Z, y, np.ones(60), np.arange(60) % n_groups)
    held = [len(out) for _, out in rows.folds(rows.y)]
    assert sum(held) == 60
    assert len(held) == min(n_groups, 3)


def test_folds_of_few_rows_per_class_are_of_one_size():
    Z = np.random.default_rng(0).normal(size=(40, 5))
    rows = _Rows(Z, np.arange(40) // 2, np.ones(40), None)
    held = [len(out) for _, out in rows.folds(rows.y)]
    assert sorted(held) == [13, 13, 14]


def test_copies_of_a_row_are_held_out_together_whatever_their_label():
    rng = np.random.default_rng(0)
    Z = np.repeat(rng.normal(size=(20, 5)), 2, axis=0)
    rows = _Rows(Z, rng.integers(0, 2, 40), np.ones(40), None)
    for fitted, out in rows.folds(rows.y):
        assert not set(map(bytes, rows.Z[fitted])) & set(map(bytes, rows.Z[out]))


def test_groups_are_one_value_for_each_row(wide):
    Z, y = wide[0]
    named = ProbeClassifier().fit(Z, y, groups=[[f"{i // 2}"] for i in range(80)])
    by_number = ProbeClassifier().fit(Z, y, groups=np.arange(80) // 2)
    assert_allclose(named.coef_, by_number.coef_)
    with pytest.raises(ValueError, match=r"mixes values of several types.*NoneType"):
        ProbeClassifier().fit(Z, y, groups=[None, "a"] * 40)
    with pytest.raises(ValueError, match="1d array"):
        ProbeRegressor().fit(Z, y, groups=np.zeros((80, 2)))


def test_several_labels_are_solved_one_by_one(wide):
    Z, y = wide[0]
    Y = np.column_stack([y, 1 - y, Z[:, 0] > 0])
    found = ProbeClassifier().fit(Z, Y)
    assert found.multilabel_
    assert_array_equal(ProbeClassifier().fit(Z, csr_matrix(Y)).coef_, found.coef_)
    first = ProbeClassifier().fit(Z, y)
    scores = found.decision_function(Z)
    assert_allclose(scores[:, 0], first.decision_function(Z), atol=1e-6)
    assert_allclose(found.predict_proba(Z), expit(scores))
    assert_array_equal(found.predict(Z), scores > 0)


def test_class_weight_counts_as_sample_weight(wide):
    Z, y = wide[0]
    names = np.array(["cat", "dog"])[y]
    weighted = ProbeClassifier(class_weight={"dog": 3.0}).fit(Z, names)
    same = ProbeClassifier().fit(Z, names, sample_weight=1 + 2 * y)
    assert_allclose(weighted.coef_, same.coef_)
    with pytest.raises(ValueError, match="class_weight applies to one label per image"):
        ProbeClassifier(class_weight="balanced").fit(Z, np.eye(2, dtype=int)[y])


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"dgo": 2.0}, "not among the classes, .'cat', 'dog'"),
        ({"dog": -1.0}, "not negative"),
        ({"dog": np.nan}, "finite"),
        ({"dog": "2"}, "finite"),
        ({"cat": 0, "dog": 0}, "above 0 for at least one"),
    ],
)
def test_class_weights_that_mean_nothing_are_refused(wide, class_weight, message):
    Z, y = wide[0]
    with pytest.raises(ValueError, match=message):
        ProbeClassifier(class_weight=class_weight).fit(Z, np.array(["cat", "dog"])[y])


def test_probe_has_the_same_bits_with_any_number_of_threads(wide, monkeypatch):
    # Also in workers of a search, which get fewer threads than the process itself.
    Z, y = wide[0]
    threads, fit = set(), LogisticRegression.fit

    def watched(self, *args, **kwargs):
        pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
        threads.update(pool["num_threads"] for pool in pools)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    found = []
    for limit in (1, 2):
        with threadpool_limits(limits=limit, user_api="blas"):
            found.append(ProbeClassifier().fit(Z, y).coef_)
    assert threads <= {1}  # none where threadpoolctl does not know the library
    assert_array_equal(found[0], found[1])
