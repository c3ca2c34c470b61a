"""ViewsDisplay: which views are shown, of which images."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktl import AugmentedEstimator, FineTunedClassifier, PretrainedFeatures
from sktl.images import ImageRows, ViewRows, variation_of
from sktl.inspection import ActivationMapDisplay, ViewsDisplay
from sktl.model_selection import SmallPixels

FEATURES = PretrainedFeatures("lenet5", layers="stage1")
HEAD = make_pipeline(FEATURES, LogisticRegression())


def test_the_image_comes_first_and_views_follow_the_seed(stripes):
    X, _ = stripes
    display = ViewsDisplay.from_images(X, augment="strong", n_images=3, n_views=4)
    assert display.names == ["row 0", "row 20", "row 39"]
    for row, pictures in zip([0, 20, 39], display.pictures, strict=True):
        assert_array_equal(pictures[0], X[row])
        assert len({picture.tobytes() for picture in pictures}) == 4
        assert {picture.shape for picture in pictures} == {(48, 48, 3)}
    same = ViewsDisplay.from_images(X, augment="strong", n_images=3, n_views=4)
    assert_array_equal(same.pictures, display.pictures)
    other = ViewsDisplay.from_images(
        X, augment="strong", n_images=3, n_views=4, random_state=1
    )
    assert not np.array_equal(other.pictures, display.pictures)


def test_large_images_and_floats_are_shown_small_and_on_their_scale():
    X = np.random.default_rng(0).random((2, 300, 600))
    display = ViewsDisplay.from_images(X, n_views=2)
    assert display.pictures[1][1].shape == (96, 192, 3)
    flat = np.full((1, 8, 8), 8.0)
    flat[0, 0] = 16.0
    (pictures,) = ViewsDisplay.from_images(flat, n_views=2).pictures
    assert pictures[0].max() == 255
    assert pictures[0][4, 4, 0] == 128


@pytest.mark.parametrize("around", ["nothing", "search", "pipeline", "both"])
def test_an_augmented_estimator_shows_the_views_it_was_fitted_to(stripes, around):
    X, y = stripes
    model = AugmentedEstimator(HEAD, augment={"shift": 0.3}, n_views=3, random_state=5)
    if around in ("pipeline", "both"):
        model = make_pipeline(model)
    if around in ("search", "both"):
        model = GridSearchCV(model, {}, cv=2)
    display = ViewsDisplay.from_estimator(model.fit(X, y), X, n_images=2)
    recipe = FEATURES.fit(X).info_.recipe
    views = ViewRows(ImageRows.of(X[[0, 39]]), variation_of({"shift": 0.3}), 5, [0, 2])
    for k, i in enumerate((0, 2)):
        expected = views.prepare(i, recipe).numpy()
        shown = display.pictures[k][0][..., 0]
        assert_array_equal(shown, expected[0])
        last = 255 * views.prepare(i + 1, recipe).numpy()[0]
        assert np.abs(display.pictures[k][2][..., 0] - last).max() <= 0.51
    assert len(display.pictures[0]) == 3


def test_a_random_state_shows_the_views_of_the_fit(stripes):
    X, y = stripes
    model = AugmentedEstimator(
        HEAD, augment={"shift": 0.3}, random_state=np.random.RandomState(0)
    ).fit(X, y)
    shown = ViewsDisplay.from_estimator(model, X, n_images=2)
    model.set_params(random_state=model.seed_).fit(X, y)
    again = ViewsDisplay.from_estimator(model, X, n_images=2)
    assert_array_equal(shown.pictures, again.pictures)
    assert model.seed_ == np.random.RandomState(0).randint(2**31 - 1)


def test_views_are_shown_at_their_size_if_no_network_reads_them(stripes):
    X, y = stripes
    head = make_pipeline(SmallPixels(8), LogisticRegression())
    model = AugmentedEstimator(head, n_views=2).fit(X, y)
    display = ViewsDisplay.from_estimator(model, X, n_images=2)
    assert_array_equal(display.pictures[0][0], X[0])


def test_a_fine_tuned_estimator_shows_its_kept_views(stripes, monkeypatch):
    X, y = stripes
    net = FineTunedClassifier("lenet5", max_epochs=1, n_views=3, random_state=0)
    prepared = {}
    prepare = ViewRows.prepare

    def watched(self, i, *args):
        found = prepare(self, i, *args)
        prepared[self.fingerprint(i)] = found
        return found

    monkeypatch.setattr(ViewRows, "prepare", watched)
    net.set_params(cache=None).fit(X, y)
    in_training = set(prepared)
    prepared.clear()
    display = ViewsDisplay.from_estimator(net, X, n_images=2)
    plain = {ImageRows.of(X).fingerprint(i) for i in (0, 39)}
    assert len(prepared) == 6
    assert set(prepared) - plain <= in_training
    assert [len(pictures) for pictures in display.pictures] == [3, 3]


def test_nothing_to_show_is_an_error_with_a_remedy(stripes):
    X, y = stripes
    with pytest.raises(ValueError, match="draws no views"):
        ViewsDisplay.from_estimator(HEAD.fit(X, y), X)
    plain = FineTunedClassifier("lenet5", max_epochs=0, augment="none").fit(X, y)
    with pytest.raises(ValueError, match="varies nothing"):
        ViewsDisplay.from_estimator(plain, X)
    once = AugmentedEstimator(HEAD, n_views=1).fit(X, y)
    with pytest.raises(ValueError, match="fitted to the images alone"):
        ViewsDisplay.from_estimator(once, X)


def test_narrow_axes_show_fewer_views(stripes):
    import matplotlib.pyplot as plt

    ax = plt.figure(figsize=(4, 6)).add_axes((0, 0, 1, 1))
    ViewsDisplay.from_images(stripes[0], n_images=2, n_views=6, ax=ax)
    assert len(ax.images) == 2 * 3


def test_displays_see_through_an_augmented_estimator(stripes):
    X, y = stripes
    model = AugmentedEstimator(HEAD, n_views=2).fit(X, y)
    display = ActivationMapDisplay.from_estimator(model, X[:4], target=1)
    assert_array_equal(display.scores.shape, (4,))
    np.testing.assert_allclose(
        display.scores, model.decision_function(X[:4]), rtol=1e-3, atol=1e-3
    )
