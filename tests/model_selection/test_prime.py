"""prime: everything a search will need, nothing twice, nothing kept from workers."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import randint, uniform
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from sktl import EmbeddingStore, FineTunedClassifier, PretrainedFeatures
from sktl.engine import images_embedded
from sktl.model_selection import prime


@pytest.fixture
def features(tmp_path):
    return PretrainedFeatures("lenet5", cache=EmbeddingStore(tmp_path))


def assert_nothing_left_to_embed(estimator, X, y):
    before = images_embedded()
    estimator.fit(X, y).predict(X)
    assert images_embedded() == before


def test_each_distinct_network_is_run_once(features, stripes):
    X, y = stripes
    search = GridSearchCV(
        Pipeline([("features", features), ("head", SVC())]),
        [
            {"features__pool": ["avg", "max"], "head__C": [1, 10, 100]},
            {"features__image_size": [None, 40], "head": [LogisticRegression()]},
        ],
        cv=2,
    )
    # Average pooling and the default size are one network: three in all.
    assert prime(search, X) == 3 * len(X)
    assert_nothing_left_to_embed(search, X, y)
    assert prime(search, X) == 0


def test_the_estimator_is_neither_fitted_nor_changed(features, stripes):
    search = GridSearchCV(make_pipeline(features, SVC()), {"svc__C": [1, 2]})
    before = repr(search.get_params())
    prime(search, stripes[0])
    assert repr(search.get_params()) == before
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(features, "info_")


def wrapped(kind, features):
    """Return an estimator that holds features somewhere inside."""
    pipeline = make_pipeline(features, StandardScaler(), LogisticRegression())
    if kind == "voting":
        return VotingClassifier([("a", pipeline), ("b", pipeline)])
    if kind == "stacking":
        return StackingClassifier([("a", pipeline)], cv=2)
    if kind == "union":
        union = FeatureUnion([("a", features), ("b", features)])
        return make_pipeline(union, LogisticRegression())
    if kind == "nested search":
        return GridSearchCV(pipeline, {"logisticregression__C": [1, 2]}, cv=2)
    return make_pipeline(
        FunctionTransformer(np.flip, kw_args={"axis": 2}), features, SVC()
    )


@pytest.mark.parametrize(
    "kind", ["voting", "stacking", "union", "nested search", "behind a step"]
)
def test_networks_are_found_inside_other_estimators(kind, features, stripes):
    X, y = stripes
    estimator = wrapped(kind, features)
    assert prime(estimator, X, y) == len(X)
    assert_nothing_left_to_embed(estimator, X, y)


def test_image_columns_of_a_frame(features, stripe_paths):
    pandas = pytest.importorskip("pandas")
    paths, y = stripe_paths
    frame = pandas.DataFrame(
        {"front": paths, "back": paths[::-1], "width": np.ones(40)}
    )
    columns = ColumnTransformer(
        [
            ("front", features, ["front"]),
            ("back", features, ["back"]),
            ("numbers", StandardScaler(), ["width"]),
        ]
    )
    search = GridSearchCV(make_pipeline(columns, SVC()), {"svc__C": [1, 2]}, cv=2)
    assert prime(search, frame) == 40
    assert_nothing_left_to_embed(search, frame, y)


def test_fine_tuning_finds_its_embeddings_and_its_cut(tmp_path, stripes):
    X, y = stripes
    tuned = FineTunedClassifier(
        "lenet5", max_epochs=2, augment="none", cache=str(tmp_path), random_state=0
    )
    search = GridSearchCV(tuned, {"unfreeze": ["head", 1], "lr": [1e-3, 1e-2]}, cv=2)
    # The embedding for both, and the activations before the last stage.
    assert prime(search, X, y) == 2 * len(X)
    assert_nothing_left_to_embed(search, X, y)
    with pytest.raises(ValueError, match=r"prime\(search, X, y\)"):
        prime(search, X)


def test_views_are_primed(tmp_path, stripes):
    X, y = stripes
    tuned = FineTunedClassifier(
        "lenet5", n_views=3, cache=str(tmp_path), random_state=0, early_stopping=True
    )
    search = GridSearchCV(tuned, {"max_epochs": [0, 2]}, cv=2)
    assert prime(search, X, y) == 3 * len(X)
    assert_nothing_left_to_embed(search, X, y)


def test_distributions_of_heads_are_fine_and_those_of_networks_are_not(
    features, stripes
):
    X, _ = stripes
    pipeline = make_pipeline(features, SVC())
    search = RandomizedSearchCV(pipeline, {"svc__C": uniform(1, 10)})
    assert prime(search, X) == len(X)
    search = RandomizedSearchCV(
        pipeline, {"pretrainedfeatures__image_size": randint(30, 40)}
    )
    with pytest.raises(ValueError, match="Pass a list of values"):
        prime(search, X)


def test_nothing_to_keep_or_to_embed_is_an_error(stripes):
    X, _ = stripes
    with pytest.raises(ValueError, match="cache=None"):
        prime(make_pipeline(PretrainedFeatures("lenet5", cache=None), SVC()), X)
    with pytest.raises(ValueError, match="nothing to embed"):
        prime(GridSearchCV(SVC(), {"C": [1, 2]}), X)


WORKERS = """
import sys
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sktl import PretrainedFeatures
from sktl.engine import images_embedded
from sktl.model_selection import prime

def witness(Z):
    assert "torch" not in sys.modules
    assert not images_embedded()
    return Z

X, y = sys.argv[1:], [i % 2 for i in range(len(sys.argv) - 1)]
model = make_pipeline(PretrainedFeatures("lenet5"), FunctionTransformer(witness), SVC())
prime(model, X)
scores = cross_val_score(model, X, y, cv=2, n_jobs=2, error_score="raise")
print(len(scores), "torch" in sys.modules)
"""


def test_workers_of_a_primed_search_do_not_import_torch(stripe_paths):
    # A session of its own, in which nothing is stored yet.
    others = {k: v for k, v in os.environ.items() if k != "SKTL_SESSION"}
    done = subprocess.run(
        [sys.executable, "-c", WORKERS, *stripe_paths[0]],
        env=others,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["2", "True"], done.stderr
