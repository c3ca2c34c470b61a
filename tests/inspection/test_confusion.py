"""ImageConfusionDisplay: the counts, and which images stand for which confusion."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline

from sktl import PretrainedFeatures
from sktl.inspection import ImageConfusionDisplay


@pytest.fixture
def guesses():
    """Return images, classes and guesses of 200 classes, and how sure they were."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (900, 6, 6), dtype=np.uint8)
    y = rng.integers(0, 200, 900)
    said = np.where(rng.random(900) < 0.7, y, rng.integers(0, 9, 900))
    return X, y, said, rng.random(900)


def test_counts_are_those_of_scikit_learn(guesses):
    X, y, said, _ = guesses
    display = ImageConfusionDisplay.from_predictions(X, y, said)
    assert_array_equal(display.confusion_matrix, confusion_matrix(y, said))


def test_most_frequent_pairs_show_their_most_confident_images(guesses):
    X, y, said, sure = guesses
    y, said = y % 4, said % 4
    display = ImageConfusionDisplay.from_predictions(
        X, y, said, y_proba=sure, n_pairs=3, n_examples=2
    )
    counts = confusion_matrix(y, said)
    np.fill_diagonal(counts, 0)
    assert len(display.shown_) == 3
    sizes = [counts[pair] for pair in display.shown_]
    assert sizes == sorted(counts.ravel(), reverse=True)[:3]
    for (true, predicted), rows in display.shown_.items():
        of_pair = np.flatnonzero((y == true) & (said == predicted))
        expected = of_pair[np.argsort(-sure[of_pair])][:2]
        assert_array_equal(rows, expected)


def test_pictures_of_the_figure_are_those_images():
    X = np.zeros((3, 40, 40, 3), dtype=np.uint8)
    X[:] = np.array([[10, 0, 0], [0, 20, 0], [0, 0, 30]])[:, None, None]
    display = ImageConfusionDisplay.from_predictions(X, [0, 1, 1], [0, 1, 0])
    (drawn,) = display.bounding_ax_.images
    assert_array_equal(drawn.get_array(), X[2])


def test_many_classes_are_counted_together(guesses, crowded_texts):
    X, y, said, _ = guesses
    display = ImageConfusionDisplay.from_predictions(X, y, said, max_classes=10)
    assert len(display.classes_shown_) == 10
    for true, predicted in display.shown_:
        assert {true, predicted} <= set(display.classes_shown_)
    written = {at: int(text.get_text()) for at, text in display.text_.items()}
    assert sum(written.values()) == 900
    counts = display.confusion_matrix
    for (i, j), count in written.items():
        if max(i, j) < len(counts):
            assert count == counts[i, j]
    assert crowded_texts(display.figure_) == []


def test_estimator_is_asked_and_classes_get_their_names(stripes):
    X, y = stripes
    names = np.array(["across", "upright"])[y]
    model = make_pipeline(PretrainedFeatures("lenet5"), LogisticRegression())
    model.fit(X[:20], names[:20])
    display = ImageConfusionDisplay.from_estimator(
        model, X[20:], names[20:], display_labels=["A", "U"]
    )
    assert_array_equal(
        display.confusion_matrix, confusion_matrix(names[20:], model.predict(X[20:]))
    )
    assert display.display_labels == ["A", "U"]


def test_no_mistakes_is_a_display_without_pictures():
    X = np.zeros((4, 8, 8), dtype=np.uint8)
    display = ImageConfusionDisplay.from_predictions(X, [0, 1, 0, 1], [0, 1, 0, 1])
    assert display.shown_ == {}
    assert "0 of 4" in display.title_.get_text()


def test_bad_input_is_named():
    X = np.zeros((3, 8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="3 images and y_true 2"):
        ImageConfusionDisplay.from_predictions(X, [0, 1], [0, 1])
    with pytest.raises(ValueError, match="3 names for 2 classes"):
        ImageConfusionDisplay.from_predictions(
            X, ["a", "b", "a"], ["a", "b", "b"], display_labels=["A", "B", "C"]
        )
    with pytest.raises(ValueError, match="one class for each image"):
        ImageConfusionDisplay.from_predictions(X, np.eye(3, 2), np.eye(3, 2))
