"""AugmentedEstimator: what is fitted to views, and what is not."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torchvision.transforms import v2

from sktl import (
    AugmentedEstimator,
    EmbeddingStore,
    PretrainedFeatures,
    ProbeClassifier,
    ProbeRegressor,
)
from sktl.engine import images_embedded
from sktl.exceptions import ImageInputError
from sktl.images import ImageRows, ViewRows, variation_of
from sktl.model_selection import SmallPixels, prime
from sktl.persistence import load_model, save_model
from tests.contract import assert_whole_contract

SHIFT = {"shift": 0.2}


class Recorder(ClassifierMixin, BaseEstimator):
    """A head that keeps what it was fitted to."""

    def fit(self, X, y, sample_weight=None, note=None):
        self.classes_ = np.unique(y)
        self.X_, self.y_, self.weight_, self.note_ = X, y, sample_weight, note
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def augmented(head, features=None, **params):
    features = PretrainedFeatures("lenet5") if features is None else features
    params = {"augment": SHIFT, "n_views": 3} | params
    return AugmentedEstimator(make_pipeline(features, head), **params)


def embedded_by(run):
    before = images_embedded()
    run()
    return images_embedded() - before


@pytest.mark.filterwarnings("ignore::sktl.exceptions.DataConversionWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(PretrainedFeatures("lenet5"), LogisticRegression()),
        make_pipeline(PretrainedFeatures("lenet5"), ProbeRegressor()),
        PretrainedFeatures("lenet5"),
    ],
    ids=["classifier", "regressor", "transformer"],
)
def test_estimator_checks_pass_without_exception(estimator):
    estimator = AugmentedEstimator(estimator, n_views=2)
    assert_whole_contract(estimator)


def test_the_head_sees_each_image_and_its_views_as_neighbours(stripes):
    X, y = stripes
    model = augmented(Recorder(), random_state=7).fit(X, y)
    head = model.estimator_[-1]
    plain = PretrainedFeatures("lenet5").fit_transform(X)
    assert_array_equal(head.y_, np.repeat(y, 3))
    assert_allclose(head.X_[::3], plain, rtol=1e-5, atol=1e-5)
    views = ViewRows(ImageRows.of(X), variation_of(SHIFT), 7, [1, 2])
    recipe = model.estimator_[0].info_.recipe
    pixels = [views.prepare(i, recipe).expand(3, -1, -1) for i in (0, 1, 2)]
    pixels = np.stack([p.permute(1, 2, 0).numpy() for p in pixels])
    expected = PretrainedFeatures("lenet5", value_range=(0, 1)).fit_transform(pixels)
    assert_allclose(head.X_[[1, 2, 4]], expected, rtol=1e-3, atol=1e-3)


def test_everything_but_fit_sees_images_as_they_are(stripes):
    X, y = stripes
    model = augmented(LogisticRegression()).fit(X, y)
    inner = model.estimator_
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert_array_equal(getattr(model, name)(X), getattr(inner, name)(X))
    assert model.score(X, y) == inner.score(X, y)
    assert_array_equal(model.classes_, [0, 1])
    features = AugmentedEstimator(PretrainedFeatures("lenet5"), n_views=2)
    plain = PretrainedFeatures("lenet5").fit(X)
    assert_array_equal(features.fit_transform(X), plain.transform(X))
    assert list(features.get_feature_names_out()) == list(plain.get_feature_names_out())


@pytest.mark.parametrize("params", [{"augment": "none"}, {"n_views": 1}])
def test_without_variation_it_is_the_estimator_itself(stripes, params):
    X, y = stripes
    found = augmented(Recorder(), **params).fit(X, y).estimator_[-1]
    assert found.y_ is y
    assert_array_equal(found.X_, PretrainedFeatures("lenet5").fit_transform(X))


def test_a_search_embeds_each_image_and_view_once(stripes, tmp_path):
    X, y = stripes
    features = PretrainedFeatures("lenet5", cache=tmp_path)
    model = augmented(LogisticRegression(), features)
    grid = {"n_views": [1, 2, 4], "estimator__logisticregression__C": [0.1, 1.0]}
    search = GridSearchCV(model, grid, cv=4)
    assert embedded_by(lambda: search.fit(X, y)) == 4 * len(X)
    assert embedded_by(lambda: search.predict(X)) == 0
    assert search.best_params_["n_views"] in (1, 2, 4)


def test_prime_embeds_the_views_of_a_search(stripes, tmp_path):
    X, y = stripes
    features = PretrainedFeatures("lenet5", cache=tmp_path)
    model = augmented(SVC(), features, random_state=np.random.RandomState(3))
    search = GridSearchCV(model, {"n_views": [2, 3]}, cv=2)
    assert prime(search, X) == 3 * len(X)
    assert embedded_by(lambda: search.fit(X, y)) == 0


def test_views_follow_the_seed(stripes):
    X, y = stripes

    def rows(**params):
        return augmented(Recorder(), **params).fit(X, y).estimator_[-1].X_

    assert_array_equal(rows(), rows(random_state=None))
    assert_array_equal(rows(random_state=1), rows(random_state=1))
    assert not np.allclose(rows(random_state=1)[1::3], rows(random_state=2)[1::3])
    drawn = [rows(random_state=np.random.RandomState(1)) for _ in range(2)]
    assert_array_equal(*drawn)


def test_views_of_a_function_are_not_stored(stripes, tmp_path):
    X, y = stripes
    features = PretrainedFeatures("lenet5", cache=tmp_path)
    model = augmented(Recorder(), features, augment=v2.RandomHorizontalFlip())
    model.fit(X, y)
    assert EmbeddingStore(tmp_path).info()["rows"] == 0
    again = clone(model).fit(X, y)
    assert_array_equal(model.estimator_[-1].X_, again.estimator_[-1].X_)


def test_arguments_of_fit_are_repeated_if_they_have_a_value_for_each_image(stripes):
    X, y = stripes
    weight = np.arange(len(y), dtype=float)
    model = augmented(Recorder())
    model.fit(X, y, recorder__sample_weight=weight, recorder__note="short")
    head = model.estimator_[-1]
    assert_array_equal(head.weight_, np.repeat(weight, 3))
    assert head.note_ == "short"


def test_groups_reach_the_head_by_routing(stripes):
    class Grouped(Recorder):
        def fit(self, X, y, groups=None):
            self.groups_ = groups
            return super().fit(X, y)

    X, y = stripes
    groups = np.arange(len(y)) // 2
    with sklearn.config_context(enable_metadata_routing=True):
        head = Grouped().set_fit_request(groups=True)
        model = augmented(head).fit(X, y, groups=groups)
    assert_array_equal(model.estimator_[-1].groups_, np.repeat(groups, 3))


def test_splits_in_order_hardly_part_the_views_of_an_image(stripes):
    y, image = np.repeat(stripes[1], 4), np.repeat(np.arange(40), 4)
    for train, test in StratifiedKFold(5).split(y, y):
        assert not set(image[train]) & set(image[test])
    for train, test in StratifiedKFold(7).split(y, y):
        assert len(set(image[train]) & set(image[test])) <= 2 * 2


def test_methods_are_those_of_the_estimator():
    svm, logistic = augmented(SVC()), augmented(LogisticRegression())
    assert not hasattr(svm, "predict_proba")
    assert hasattr(logistic, "predict_proba")
    assert not hasattr(logistic, "transform")
    assert not hasattr(AugmentedEstimator(PretrainedFeatures()), "predict")
    with pytest.raises(AttributeError, match="no attribute 'predict_proba'"):
        _ = svm.predict_proba


def test_tables_and_frames_are_checked_by_the_reader(digits):
    X, y = digits
    model = augmented(LogisticRegression()).fit(X[:60], y[:60])
    assert model.n_features_in_ == 64
    with pytest.raises(ValueError, match="expecting 64 features"):
        model.predict(X[:2, :49])
    frame = pd.DataFrame(X[:60]).add_prefix("pixel")
    named = augmented(LogisticRegression()).fit(frame, pd.Series(y[:60]))
    assert list(named.feature_names_in_) == list(frame.columns)
    assert_array_equal(named.predict(frame), model.predict(X[:60]))


@pytest.mark.filterwarnings("ignore::sktl.exceptions.DataConversionWarning")
@pytest.mark.parametrize("image_shape", [None, (1, 7)])
def test_rows_that_are_no_pictures_are_used_once(image_shape):
    X, y = np.random.default_rng(0).random((6, 7)), [0, 1] * 3
    features = PretrainedFeatures("lenet5", image_shape=image_shape)
    model = augmented(Recorder(), features, augment="strong").fit(X, y)
    assert_array_equal(model.estimator_[-1].X_, clone(features).fit_transform(X))
    assert model.estimator_[-1].y_ is y
    assert model.seed_ is None


def test_paths_give_the_same_views_as_their_pixels(stripes, stripe_paths):
    model = augmented(Recorder())
    pixels = clone(model).fit(*stripes).estimator_[-1].X_
    files = clone(model).fit(*stripe_paths).estimator_[-1].X_
    assert pixels.shape == files.shape
    assert_allclose(pixels[::3], files[::3], rtol=1e-4, atol=1e-4)


def test_all_that_reads_images_reads_views(stripes):
    X, y = stripes
    both = FeatureUnion([("net", PretrainedFeatures("lenet5")), ("raw", SmallPixels())])
    head = augmented(Recorder(), both).fit(X, y).estimator_[-1]
    assert head.X_.shape == (120, 84 + 768)
    assert not np.allclose(head.X_[::3, 84:], head.X_[1::3, 84:])


def test_frames_between_the_steps_are_possible(stripes):
    X, y = stripes
    steps = PretrainedFeatures("lenet5"), StandardScaler(), LogisticRegression()
    pipeline = make_pipeline(*steps).set_output(transform="pandas")
    model = AugmentedEstimator(pipeline, n_views=2).fit(X, y)
    assert model.estimator_[-1].feature_names_in_[0] == "lenet5_00"


def test_what_cannot_be_fitted_to_views_says_so(stripes):
    from sktl import FineTunedClassifier

    X, y = stripes
    with pytest.raises(ValueError, match="set their augment and n_views"):
        AugmentedEstimator(FineTunedClassifier("lenet5")).fit(X, y)
    message = "first step of the pipeline has to read images"
    with pytest.raises(ImageInputError, match=message):
        AugmentedEstimator(KNeighborsClassifier()).fit(X, y)
    inside = GridSearchCV(make_pipeline(PretrainedFeatures("lenet5"), SVC()), {})
    with pytest.raises(ImageInputError, match="Put a search around"):
        AugmentedEstimator(inside).fit(X, y)


@pytest.mark.parametrize("how", ["pickle", "file"])
def test_a_fitted_model_can_be_kept(digits, how, tmp_path):
    X, y = digits
    head = make_pipeline(StandardScaler(), LogisticRegression())
    model = augmented(head, augment="light", random_state=1).fit(X[:80], y[:80])
    if how == "pickle":
        content = pickle.dumps(model)
        assert len(content) < 60_000
        restored = pickle.loads(content)
    else:
        save_model(model, tmp_path / "model.sktl")
        restored = load_model(tmp_path / "model.sktl")
    assert_array_equal(restored.predict_proba(X[:90]), model.predict_proba(X[:90]))
    assert restored.get_params()["n_views"] == 3
    again = partial(clone(restored).fit, X[:80], y[:80])
    assert_array_equal(again().predict(X[:90]), model.predict(X[:90]))


def test_the_probe_holds_out_all_views_of_an_image_together(digits, monkeypatch):
    X, y = digits
    seen, fit = [], ProbeClassifier.fit

    def witness(self, X, y, sample_weight=None, groups=None):
        seen.append(groups)
        return fit(self, X, y, sample_weight, groups)

    monkeypatch.setattr(ProbeClassifier, "fit", witness)
    for routed in (False, True):
        with sklearn.config_context(enable_metadata_routing=routed):
            augmented(ProbeClassifier()).fit(X[:20], y[:20])
            assert_array_equal(seen.pop(), np.repeat(np.arange(20), 3))
    with sklearn.config_context(enable_metadata_routing=True):
        head = ProbeClassifier().set_fit_request(groups="scene")
        scenes = np.arange(20) // 4
        augmented(head).fit(X[:20], y[:20], scene=scenes)
        assert_array_equal(seen.pop(), np.repeat(scenes, 3))
        search = GridSearchCV(augmented(ProbeClassifier()), {}, cv=GroupKFold(2))
        search.fit(X[:20], y[:20], groups=scenes)
        assert_array_equal(seen.pop(), np.repeat(scenes, 3))


def test_the_docstring_of_a_method_says_what_it_returns():
    returned = AugmentedEstimator.predict_log_proba.__doc__
    assert returned.startswith("Return the logarithms of the probabilities of images")
