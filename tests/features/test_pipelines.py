"""PretrainedFeatures inside the pipelines and searches that people build."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktl import EmbeddingStore, PretrainedFeatures


@pytest.mark.parametrize(
    "head", [SVC(), LogisticRegression(), KNeighborsClassifier()], ids=lambda h: str(h)
)
@pytest.mark.parametrize("form", ["arrays", "paths"])
def test_heads_learn_from_embeddings(head, form, stripes, stripe_paths):
    X, y = stripes if form == "arrays" else stripe_paths
    model = make_pipeline(PretrainedFeatures("pocket"), StandardScaler(), head)
    assert cross_val_score(model, X, y, cv=4).mean() > 0.9


def test_grid_search_over_backbones_layers_pools_and_heads(stripes):
    X, y = stripes
    search = GridSearchCV(
        make_pipeline(PretrainedFeatures("pocket"), StandardScaler(), SVC()),
        {
            "pretrainedfeatures__backbone": ["pocket", "lenet5"],
            "pretrainedfeatures__layers": [None, "stage1", ["stem", "stage1"]],
            "pretrainedfeatures__pool": ["avg", "avgmax"],
            "svc__C": [1, 10],
        },
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 24
    assert search.best_score_ > 0.9


def test_parallel_cross_validation_embeds_each_image_once(stripes, tmp_path):
    X, y = stripes
    store = EmbeddingStore(tmp_path)
    model = make_pipeline(
        PretrainedFeatures("lenet5", cache=store), StandardScaler(), SVC()
    )
    scores = cross_val_score(model, X, y, cv=4, n_jobs=2)
    assert store.info()["computed"] <= 1.05 * len(X)
    assert_array_equal(scores, cross_val_score(model, X, y, cv=4))


def test_workers_share_the_session(stripes):
    X, y = stripes
    X = X // 2  # pixels that no other test has
    model = make_pipeline(PretrainedFeatures("lenet5"), StandardScaler(), SVC())
    with joblib.parallel_config("loky", n_jobs=2):
        scores = cross_val_score(model, X, y, cv=4)
    from sktl.engine import images_embedded

    before = images_embedded()
    assert_array_equal(scores, cross_val_score(model, X, y, cv=4))
    assert images_embedded() == before


def test_image_and_table_in_one_column_transformer(stripe_paths):
    pandas = pytest.importorskip("pandas")
    paths, y = stripe_paths
    noise = np.random.default_rng(0).normal(size=(len(y), 2))
    frame = pandas.DataFrame({"path": paths, "age": noise[:, 0], "dose": noise[:, 1]})
    columns = ColumnTransformer(
        [
            ("image", PretrainedFeatures("lenet5"), ["path"]),
            ("table", StandardScaler(), ["age", "dose"]),
        ]
    )
    model = make_pipeline(columns, StandardScaler(), LogisticRegression())
    assert cross_val_score(model, frame, y, cv=4).mean() > 0.9
    names = columns.fit(frame).get_feature_names_out()
    assert names[0] == "image__lenet5_00"
    assert names[-1] == "table__dose"
    one_column = columns.set_params(image__cache=None)
    assert one_column.fit_transform(frame.iloc[5:9]).shape == (4, 84 + 2)


def test_union_of_two_backbones(stripes):
    X, y = stripes
    union = FeatureUnion(
        [
            ("small", PretrainedFeatures("lenet5")),
            ("large", PretrainedFeatures("pocket")),
        ]
    )
    embeddings = union.fit_transform(X)
    assert embeddings.shape[1] == len(union.get_feature_names_out())
    assert make_union(*[t for _, t in union.transformer_list]).fit(X) is not None
    model = make_pipeline(union, StandardScaler(), SVC())
    assert cross_val_score(model, X, y, cv=4).mean() > 0.9


def test_pipeline_memory(stripes, tmp_path):
    X, y = stripes
    model = make_pipeline(
        PretrainedFeatures("lenet5"), StandardScaler(), SVC(), memory=str(tmp_path)
    )
    first = model.fit(X, y).decision_function(X)
    assert_array_equal(model.fit(X, y).decision_function(X), first)


def test_fitted_pipeline_predicts_in_a_fresh_process(stripes, tmp_path):
    X, y = stripes
    model = make_pipeline(PretrainedFeatures("pocket"), StandardScaler(), SVC()).fit(
        X, y
    )
    joblib.dump(model, tmp_path / "model.joblib")
    np.save(tmp_path / "X.npy", X)
    code = (
        "import joblib, numpy as np;"
        f"model = joblib.load({str(tmp_path / 'model.joblib')!r});"
        f"np.save({str(tmp_path / 'y.npy')!r},"
        f" model.decision_function(np.load({str(tmp_path / 'X.npy')!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), model.decision_function(X), rtol=1e-4, atol=1e-5
    )


def test_skops_saves_and_loads_without_pickle(stripes, tmp_path):
    sio = pytest.importorskip("skops.io")
    X, y = stripes
    model = make_pipeline(PretrainedFeatures("pocket"), StandardScaler(), SVC()).fit(
        X, y
    )
    sio.dump(model, tmp_path / "model.skops")
    unknown = sio.get_untrusted_types(file=tmp_path / "model.skops")
    assert all(name.startswith("sktl.") for name in unknown)
    loaded = sio.load(tmp_path / "model.skops", trusted=unknown)
    assert_array_equal(loaded.decision_function(X), model.decision_function(X))
