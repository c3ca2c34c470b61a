"""scikit-learn's own checks, in every mode that takes another path through the code."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from sktl import FineTunedClassifier, FineTunedRegressor

TINY = {"backbone": "lenet5", "max_epochs": 2, "random_state": 0}
MODES = {
    "kept": {"augment": "none"},
    "head": {"unfreeze": "head"},
    "views": {"n_views": 2, "gradual": True, "early_stopping": True},
    "live": {"unfreeze": 1, "max_bytes": 0},
    "all": {"unfreeze": "all", "lr": 1e-4, "schedule": "onecycle"},
    "mixed": {"mixup": 0.2, "cache": None},
}
ESTIMATORS = {
    f"{cls.__name__}-{mode}": cls(**TINY, **params)
    for cls in (FineTunedClassifier, FineTunedRegressor)
    for mode, params in MODES.items()
}


def checks_of(estimator):
    return [check for _, check in estimator_checks_generator(estimator)]


def name_of(check):
    words = ",".join(f"{k}={v}" for k, v in (check.keywords or {}).items())
    return f"{check.func.__name__}({words})"


@pytest.mark.filterwarnings("ignore::sktl.exceptions.DataConversionWarning")
@pytest.mark.parametrize(
    ("key", "number"),
    [
        pytest.param(key, number, id=f"{key}-{name_of(check)}")
        for key, estimator in ESTIMATORS.items()
        for number, check in enumerate(checks_of(estimator))
    ],
)
def test_sklearn_contract(key, number):
    estimator = ESTIMATORS[key]
    checks_of(estimator)[number](estimator)
