"""EmbeddingMapDisplay: positions, and pictures that keep their distance."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktl import FineTunedClassifier, PretrainedFeatures
from sktl.exceptions import MissingExtraError
from sktl.inspection import EmbeddingMapDisplay, embeddings_of


@pytest.fixture(scope="module")
def clouds():
    """Return 240 embeddings in 30 clouds of unequal size, and images."""
    rng = np.random.default_rng(0)
    y = np.sort(rng.integers(0, 30, 240) ** 2 // 30)
    embeddings = rng.normal(size=(30, 9))[y] * 4 + rng.normal(size=(240, 9))
    images = rng.integers(0, 256, (240, 12, 9, 3), dtype=np.uint8)
    return embeddings, y, images


def overlaps(boxes):
    """Return pairs of boxes (left, bottom, right, top) that touch."""
    left, bottom, right, top = boxes.T
    across = (left[:, None] < right) & (left < right[:, None])
    along = (bottom[:, None] < top) & (bottom < top[:, None])
    return np.argwhere(np.triu(across & along, k=1))


def test_pictures_do_not_overlap_and_stay_inside(clouds):
    embeddings, y, images = clouds
    display = EmbeddingMapDisplay.from_embeddings(embeddings, y, images=images)
    assert len(display.shown_) > 20
    assert len(overlaps(display.boxes_)) == 0
    (left, right), (bottom, top) = display.ax_.get_xlim(), display.ax_.get_ylim()
    assert (display.boxes_[:, [0, 1]] >= (left, bottom)).all()
    assert (display.boxes_[:, [2, 3]] <= (right, top)).all()


def test_pictures_are_those_rows_at_their_positions(clouds):
    embeddings, y, images = clouds
    display = EmbeddingMapDisplay.from_embeddings(embeddings, y, images=images)
    left, bottom, right, top = display.boxes_.T
    middles = np.column_stack([(left + right) / 2, (bottom + top) / 2])
    assert_allclose(middles, display.positions[display.shown_])
    assert_allclose((top - bottom) / (right - left), 12 / 9)  # own proportions
    drawn = [picture.get_array() for picture in display.ax_.images]
    assert_array_equal(drawn, images[display.shown_])


def test_pictures_are_not_only_of_the_largest_class():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(500, 2))
    y = np.r_[np.zeros(490), np.ones(10)]
    images = rng.integers(0, 256, (500, 8, 8), dtype=np.uint8)
    display = EmbeddingMapDisplay.from_embeddings(
        embeddings, y, images=images, n_images=10
    )
    assert (y[display.shown_] == 1).sum() >= 3


def test_pca_is_scikit_learns_and_axes_have_equal_units(clouds):
    embeddings, y, _ = clouds
    display = EmbeddingMapDisplay.from_embeddings(embeddings, y)
    pca = PCA(2).fit(embeddings)
    assert_allclose(np.abs(display.positions), np.abs(pca.transform(embeddings)))
    percent = f"{pca.explained_variance_ratio_[0]:.0%}"
    assert percent in display.axis_labels[0]
    assert len(display.shown_) == 0
    box = display.ax_.get_window_extent()
    across = np.ptp(display.ax_.get_xlim()) / box.width
    along = np.ptp(display.ax_.get_ylim()) / box.height
    assert_allclose(across, along)


def test_legend_counts_classes_beyond_the_largest(clouds, crowded_texts):
    embeddings, y, images = clouds
    display = EmbeddingMapDisplay.from_embeddings(
        embeddings, y, images=images, max_classes=6
    )
    words = [text.get_text() for text in display.text_]
    largest = np.argsort(-np.bincount(y), kind="stable")[:6]
    assert words[:-1] == [str(label) for label in sorted(largest)]
    assert words[-1] == f"{len(np.unique(y)) - 6} other classes"
    assert crowded_texts(display.figure_) == []


def test_outliers_do_not_press_the_rest_into_a_spot():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(300, 2))
    embeddings[0] = 1000
    display = EmbeddingMapDisplay.from_embeddings(embeddings)
    assert np.ptp(display.ax_.get_xlim()) < 20
    assert "1 outlier not shown" in display.title_.get_text()


def test_rows_without_embedding_are_left_out():
    embeddings = np.random.default_rng(0).normal(size=(10, 4))
    embeddings[3] = np.nan
    images = np.zeros((10, 8, 8), dtype=np.uint8)
    display = EmbeddingMapDisplay.from_embeddings(embeddings, images=images)
    assert_array_equal(np.flatnonzero(np.isnan(display.positions[:, 0])), [3])
    assert 3 not in display.shown_
    assert "9 embeddings" in display.title_.get_text()


def test_tsne_and_transformers_of_the_user(clouds):
    embeddings, y, _ = clouds
    first = EmbeddingMapDisplay.from_embeddings(embeddings[:60], method="tsne")
    again = EmbeddingMapDisplay.from_embeddings(embeddings[:60], method="tsne")
    assert_array_equal(first.positions, again.positions)
    own = EmbeddingMapDisplay.from_embeddings(embeddings, y, method=PCA(2))
    assert own.method == "PCA"
    with pytest.raises(ValueError, match="n_components=2"):
        EmbeddingMapDisplay.from_embeddings(embeddings, method=PCA(3))


def test_umap_keeps_apart_what_is_apart(clouds):
    pytest.importorskip("umap")
    embeddings, y, _ = clouds
    display = EmbeddingMapDisplay.from_embeddings(embeddings, y, method="umap")
    assert display.method == "UMAP"
    assert silhouette_score(display.positions, y) > 0.5


def test_unknown_and_missing_methods_say_what_would_do(clouds, monkeypatch):
    embeddings, _, _ = clouds
    with pytest.raises(ValueError, match="'pca', 'tsne', 'umap'"):
        EmbeddingMapDisplay.from_embeddings(embeddings, method="PCA")
    monkeypatch.setattr("sktl.inspection._embedding_map.has_module", lambda name: False)
    with pytest.raises(MissingExtraError, match="pip install umap-learn"):
        EmbeddingMapDisplay.from_embeddings(embeddings, method="umap")


@pytest.mark.parametrize("wrapped", ["alone", "nested", "searched"])
def test_embeddings_of_a_pipeline_are_what_its_head_sees(stripes, wrapped):
    X, y = stripes
    model = make_pipeline(PretrainedFeatures("lenet5"), StandardScaler(), SVC())
    expected = model[:-1].fit_transform(X[:20])
    if wrapped == "nested":
        model = make_pipeline(model)
    elif wrapped == "searched":
        model = GridSearchCV(model, {"svc__C": [1.0]}, cv=2)
    model.fit(X[:20], y[:20])
    assert_array_equal(embeddings_of(model, X[:20]), expected)


def test_head_that_could_transform_and_features_alone(stripes):
    X, y = stripes
    features = PretrainedFeatures("lenet5").fit(X)
    model = make_pipeline(PretrainedFeatures("lenet5"), LinearDiscriminantAnalysis())
    model.fit(X, y)
    assert_array_equal(embeddings_of(model, X), features.transform(X))
    assert_array_equal(embeddings_of(features, X), features.transform(X))
    with pytest.raises(ValueError, match="from_embeddings"):
        embeddings_of(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), X)


def test_embeddings_of_a_fine_tuned_estimator_feed_its_head(stripes):
    X, y = stripes
    net = FineTunedClassifier("lenet5", unfreeze=1, max_epochs=1, random_state=0)
    net.fit(X[:16], y[:16])
    embeddings = embeddings_of(net, X)
    assert embeddings.shape == (40, 84)
    weight = net.module_.head.weight.detach().numpy()
    logits = embeddings @ weight.T + net.module_.head.bias.detach().numpy()
    assert_allclose(logits[:, 1] - logits[:, 0], net.decision_function(X), atol=1e-4)
    display = EmbeddingMapDisplay.from_estimator(net, X, y)
    assert len(display.shown_) > 1
    pickle.dumps(net)  # nothing of ours is left on the network
