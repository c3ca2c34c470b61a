"""One search space over both strategies, for every search of scikit-learn."""

import os

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    ParameterGrid,
    RandomizedSearchCV,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from sktl import (
    FineTunedClassifier,
    FineTunedRegressor,
    PretrainedFeatures,
    ProbeClassifier,
)
from sktl.engine import images_embedded
from sktl.model_selection import prime, strategy_grid


def test_spans_both_strategies():
    estimator, grid = strategy_grid(
        ["lenet5", "resnet18"], heads=["knn"], unfreeze=["head", 1]
    )
    frozen, tuned = grid
    assert isinstance(estimator, Pipeline)
    assert isinstance(frozen["model"][0][0], PretrainedFeatures)
    assert isinstance(tuned["model"][0], FineTunedClassifier)
    assert frozen["model__features__backbone"] == ["lenet5", "resnet18"]
    assert tuned["model__backbone"] == ["lenet5", "resnet18"]
    assert tuned["model__unfreeze"] == ["head", 1]
    for candidate in ParameterGrid(grid):
        estimator.set_params(**candidate)


def test_every_setting_reaches_both_strategies(tmp_path):
    settings = {
        "image_size": 40,
        "image_shape": (8, 8),
        "cache": str(tmp_path),
        "device": "cpu",
        "random_state": 3,
    }
    _, grid = strategy_grid("lenet5", weights=None, **settings)
    for model in (grid[0]["model"][0].named_steps["features"], grid[-1]["model"][0]):
        params = model.get_params()
        assert params["weights"] is None
        assert {name: params[name] for name in settings} == settings


def test_a_pipeline_as_head_scales_for_itself():
    heads = [make_pipeline(Normalizer(), ProbeClassifier()), LogisticRegression()]
    _, grid = strategy_grid("lenet5", heads=heads, unfreeze=None)
    scalers = [candidate["model"][0]["scaler"] for candidate in grid]
    assert scalers[0] == "passthrough"
    assert isinstance(scalers[1], StandardScaler)


def test_regression_has_heads_and_fine_tuning_of_its_own():
    _, grid = strategy_grid("lenet5", task="regression")
    names = [type(g["model"][0]).__name__ for g in grid]
    assert names == ["Pipeline", "Pipeline", "FineTunedRegressor"]
    assert isinstance(grid[-1]["model"][0], FineTunedRegressor)


@pytest.mark.parametrize("unfreeze", [None, ()])
def test_fine_tuning_can_be_left_out(unfreeze):
    _, grid = strategy_grid("lenet5", heads=["svc"], unfreeze=unfreeze)
    assert len(grid) == 1


def test_weights_by_backbone_split_the_grid():
    _, grid = strategy_grid(
        ["resnet18", "lenet5", "resnet34"],
        heads=["svc"],
        unfreeze=None,
        weights={"lenet5": None},
    )
    found = {
        tuple(g["model__features__backbone"]): g["model"][0][0].weights for g in grid
    }
    assert found == {("resnet18", "resnet34"): "default", ("lenet5",): None}


def test_choices_and_fixed_parameters():
    _, grid = strategy_grid(
        "lenet5",
        heads=[(LogisticRegression(), {"C": [3.0]})],
        features={"pool": ["avg", "max"], "verbose": 0},
        fine_tuning={"lr": [1e-4, 1e-2], "max_epochs": 3},
        sampling="random",
    )
    assert grid[0]["model__features__pool"] == ["avg", "max"]
    assert grid[0]["model__head__C"] == [3.0]
    assert grid[1]["model"][0].max_epochs == 3
    drawn = grid[1]["model__lr"]
    assert isinstance(drawn, type(loguniform(1, 2)))
    assert drawn.support() == (1e-4, 1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbones": []}, "backbones is empty"),
        ({"heads": [], "unfreeze": None}, "both empty"),
        ({"heads": ["svm"]}, "'svm' is not known for classification"),
        ({"heads": [3]}, "3 is not a head"),
        ({"weights": {"resnet19": None}}, "'resnet19', which is not among"),
        ({"task": "ranking"}, "task"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        strategy_grid(**arguments)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_embeds_once_and_finds_a_good_model(digits, n_jobs, tmp_path):
    X, y = digits
    estimator, grid = strategy_grid(
        "lenet5",
        heads=["logistic", "knn"],
        unfreeze=["head"],
        fine_tuning={"max_epochs": 1, "augment": "none"},
        cache=str(tmp_path),
        random_state=0,
    )
    search = GridSearchCV(estimator, grid, cv=3, n_jobs=n_jobs)
    before = images_embedded()
    assert prime(search, X, y) == images_embedded() - before == len(X)
    search.fit(X, y)
    assert images_embedded() - before == len(X)
    assert search.best_score_ > 0.9
    assert len(search.cv_results_["params"]) == 1 + 3 + 1


@pytest.mark.parametrize("kind", [RandomizedSearchCV, HalvingGridSearchCV])
def test_other_searches_take_it(digits, kind, tmp_path):
    X, y = digits
    sampling = "random" if kind is RandomizedSearchCV else "grid"
    estimator, grid = strategy_grid(
        "lenet5",
        heads=["logistic", "svc"],
        unfreeze=["head"],
        fine_tuning={"max_epochs": 1, "augment": "none"},
        sampling=sampling,
        cache=str(tmp_path),
        random_state=0,
    )
    search = kind(estimator, grid, cv=3, random_state=0).fit(X, y)
    assert search.score(X, y) > 0.9


def test_numbered_candidates_serve_optimisers_that_suggest_one_value(digits):
    X, y = digits
    estimator, grid = strategy_grid("lenet5", heads=["svc"], unfreeze=None)
    candidates = ParameterGrid(grid)
    scores = [
        estimator.set_params(**candidates[i]).fit(X[:60], y[:60]).score(X[60:], y[60:])
        for i in range(len(candidates))
    ]
    assert np.max(scores) > 0.9


def test_frozen_grid_does_not_import_torch():
    import subprocess
    import sys

    code = (
        "import sys; from sktl.model_selection import strategy_grid;"
        "strategy_grid('lenet5', unfreeze=None); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert done.stdout.strip() == "False"
