"""scikit-learn's own checks, in every mode that takes another path through the code."""

import pytest
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

from sktl import FineTunedClassifier, FineTunedRegressor

TINY = {"backbone": "lenet5", "max_epochs": 2, "random_state": 0}
MODES = {
    "kept": {"augment": "none"},
    "head": {"unfreeze": "head"},
    "views": {"n_views": 2, "gradual": True, "early_stopping": True},
    "live": {"n_views": None, "max_bytes": 0},
    "all": {"unfreeze": "all", "lr": 1e-4, "schedule": "onecycle"},
    "mixed": {"mixup": 0.2},
}
ESTIMATORS = [
    cls(**TINY, **params)
    for cls in (FineTunedClassifier, FineTunedRegressor)
    for params in MODES.values()
]


@pytest.mark.filterwarnings("ignore::sktl.exceptions.DataConversionWarning")
@pytest.mark.filterwarnings("ignore::sktl.exceptions.CacheWarning")
@parametrize_with_checks(ESTIMATORS)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_no_tag_empties_the_contract(estimator):
    names = {
        getattr(check, "func", check).__name__
        for _, check in estimator_checks_generator(estimator)
    }
    assert len(names) > 50
    assert {
        "check_sample_weight_equivalence_on_dense_data",
        "check_methods_sample_order_invariance",
        "check_fit_idempotent",
        "check_n_features_in",
        "check_estimators_pickle",
    } <= names
    if isinstance(estimator, FineTunedClassifier):
        assert "check_classifiers_train" in names
        assert "check_classifiers_multilabel_output_format_predict_proba" in names
    else:
        assert {"check_regressors_train", "check_regressor_multioutput"} <= names
