"""MistakesDisplay: which mistakes, in which order, with which words."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin

from sktl.inspection import MistakesDisplay

X = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
Y = np.array(["ant", "bee", "cow", "ant", "bee", "cow"])
SCORES = np.array(
    [
        [3.0, 1.0, 0.0],  # right
        [5.0, 4.5, 0.0],  # ant, by 0.5
        [0.0, 9.0, 2.0],  # bee, by 7
        [0.0, 1.0, 3.0],  # cow, by 2
        [0.0, 4.0, 1.0],  # right
        [0.0, 0.0, 1.0],  # right
    ]
)


class Known(ClassifierMixin, BaseEstimator):
    """A classifier whose scores are known."""

    def __init__(self, response="predict_proba"):
        self.response = response
        self.classes_ = np.array(["ant", "bee", "cow"])

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.classes_[SCORES.argmax(axis=1)]

    def __getattr__(self, name):
        if name == "response" or name != self.response:
            raise AttributeError(name)
        if name == "predict_proba":
            return lambda X: SCORES / SCORES.sum(axis=1, keepdims=True)
        return lambda X: SCORES


def test_most_probable_mistakes_come_first():
    display = MistakesDisplay.from_estimator(Known(), X, Y)
    assert_array_equal(display.shown_, [2, 3, 1])
    assert_allclose(display.confidence, [9 / 11, 3 / 4, 5 / 9.5])
    assert display.true_names == ["cow", "ant", "bee"]
    assert display.predicted_names == ["bee", "cow", "ant"]
    words = [text.get_text() for text in display.text_[0]]
    assert words == ["true: cow", "predicted: bee", "82% · row 2"]


def test_without_probabilities_the_margin_counts():
    display = MistakesDisplay.from_estimator(Known("decision_function"), X, Y)
    assert_array_equal(display.shown_, [2, 3, 1])
    assert_allclose(display.confidence, [7, 2, 0.5])
    assert "margin 7 " in display.text_[0][2].get_text()


def test_without_scores_mistakes_come_in_order():
    display = MistakesDisplay.from_estimator(Known("nothing"), X, Y)
    assert_array_equal(display.shown_, [1, 2, 3])
    assert display.confidence is None


def test_pictures_are_those_rows():
    display = MistakesDisplay.from_estimator(Known(), X, Y, n_images=2)
    drawn = [image.get_array() for image in display.ax_.images]
    assert_array_equal(drawn, X[[2, 3]])


def test_probabilities_of_all_classes_or_of_the_predicted_one():
    said = Known().predict(X)
    proba = SCORES / SCORES.sum(axis=1, keepdims=True)
    whole = MistakesDisplay.from_predictions(X, Y, said, y_proba=proba)
    own = MistakesDisplay.from_predictions(X, Y, said, y_proba=proba.max(axis=1))
    assert_array_equal(whole.confidence, own.confidence)
    with pytest.raises(ValueError, match="2 columns for 3 classes"):
        MistakesDisplay.from_predictions(X, Y, said, y_proba=proba[:, :2])


def test_no_mistake_is_good_news():
    display = MistakesDisplay.from_predictions(X, Y, Y)
    assert len(display.shown_) == 0
    assert display.title_.get_text() == "No mistakes in 6 images"


def test_certainty_is_never_claimed():
    display = MistakesDisplay.from_predictions(X, Y, Y[::-1], y_proba=np.ones(6))
    assert display.text_[0][2].get_text().startswith("99.9%")


def test_unreadable_image_is_a_placeholder(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    display = MistakesDisplay.from_predictions(paths, [0, 1], [1, 0])
    assert len(display.ax_.images) == 2
    assert len(np.unique(display.ax_.images[1].get_array())) == 2
