"""ActivationMapDisplay: the maps add up to the scores, or an error says why not."""

import pickle
import warnings

import numpy as np
import pytest
import torch
import torchvision
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.torch import save_file
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from torch import nn

from sktl import FineTunedClassifier, FineTunedRegressor, PretrainedFeatures
from sktl.exceptions import ActivationMapError
from sktl.images import ImageRows
from sktl.inspection import ActivationMapDisplay

NET = {"backbone": "squeezenet1_1", "weights": None, "random_state": 0}


@pytest.fixture(scope="module")
def three(stripes):
    """Return stripes of three classes: upright, across, and faint."""
    X, y = stripes
    X, y = X[:30].copy(), y[:30].copy()
    X[::3] //= 3
    y[::3] = 2
    return X, np.array(["across", "upright", "faint"])[y]


def features(**params):
    return PretrainedFeatures(**{**NET, "image_size": 64, **params})


def own_score(model, X, display):
    """Return the scores of the targets as the model gives them."""
    scores = model.decision_function(X)
    if scores.ndim == 1:
        scores = np.column_stack([-scores, scores])
    codes = [list(model.classes_).index(target) for target in display.targets]
    return scores[np.arange(len(X)), codes]


@pytest.mark.parametrize(
    "steps",
    [
        [LogisticRegression()],
        [StandardScaler(), LogisticRegression()],
        [StandardScaler(), LinearSVC()],
        [MinMaxScaler(), RidgeClassifier()],
        [PCA(5, whiten=True), LinearDiscriminantAnalysis()],
        ["passthrough", StandardScaler(), GridSearchCV(LinearSVC(), {"C": [1]}, cv=2)],
    ],
    ids=lambda steps: type(steps[-1]).__name__,
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_maps_add_up_to_the_scores(three, steps, n_classes):
    X, y = three
    chosen = np.isin(y, np.unique(y)[:n_classes])
    X, y = X[chosen], y[chosen]
    model = make_pipeline(features(), *steps).fit(X, y)
    display = ActivationMapDisplay.from_estimator(model, X[:8])
    assert display.maps.shape == (8, 3, 3)
    sums = display.maps.mean(axis=(1, 2)) + display.intercepts
    expected = own_score(model, X[:8], display)
    assert_allclose(sums, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert display.targets == list(model.predict(X[:8]))
    assert display.maps.std(axis=(1, 2)).min() > 0


def test_maps_are_those_of_plain_torch(three, tmp_path):
    X, y = three
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = torchvision.models.squeezenet1_1().eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    model = make_pipeline(
        features(weights=tmp_path / "weights.safetensors"),
        LogisticRegression(max_iter=1000),
    ).fit(X, y)
    display = ActivationMapDisplay.from_estimator(model, X[:2], target="faint")
    recipe, rows = model[0].info_.recipe.at(64), ImageRows.of(X[:2])
    batch = torch.stack([rows.prepare(i, recipe) for i in range(2)])
    with torch.no_grad():
        found = network.features(recipe.normalise(batch)).numpy()
    expected = np.einsum("nchw,c->nhw", found, model[-1].coef_[1])
    assert_allclose(display.maps, expected, atol=1e-4 * np.abs(expected).max())


def test_target_is_one_class_or_one_for_each_image(three):
    X, y = three
    model = make_pipeline(features(), StandardScaler(), LinearSVC()).fit(X, y)
    scores = model.decision_function(X[:4])
    one = ActivationMapDisplay.from_estimator(model, X[:4], target="faint")
    assert_allclose(one.scores, scores[:, 1], rtol=1e-3, atol=1e-4)
    each = ActivationMapDisplay.from_estimator(model, X[:4], y[:4], target=y[:4])
    codes = np.searchsorted(model.classes_, y[:4])
    assert_allclose(each.scores, scores[np.arange(4), codes], rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="no class 'blue'"):
        ActivationMapDisplay.from_estimator(model, X[:4], target="blue")
    with pytest.raises(ValueError, match="4 images"):
        ActivationMapDisplay.from_estimator(model, X[:4], target=["faint"] * 3)


def test_captions_name_what_was_wrong(three):
    X, y = three
    model = make_pipeline(features(), StandardScaler(), LogisticRegression()).fit(X, y)
    said = model.predict(X[:2])
    wrong = ["upright" if label == "faint" else "faint" for label in said]
    display = ActivationMapDisplay.from_estimator(model, X[:2], wrong)
    for k in range(2):
        first, second = (text.get_text() for text in display.text_[k])
        assert first == said[k]
        assert f"row {k} · score {display.scores[k]:.3g}" in second
        assert f"true: {wrong[k]}" in second


def test_one_layer_and_a_regressor(three):
    X, y = three
    number = (y == "faint") + np.arange(30) / 30
    model = make_pipeline(features(layers="stage2"), StandardScaler(), Ridge())
    model.fit(X, number)
    display = ActivationMapDisplay.from_estimator(model, X[:5])
    assert display.maps.shape == (5, 3, 3)
    assert_allclose(display.scores, model.predict(X[:5]), rtol=1e-3, atol=1e-3)
    assert display.predicted is None


@pytest.mark.parametrize("unfreeze", ["head", 1, 2])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_maps_of_fine_tuned_nets_add_up_too(three, unfreeze, n_classes):
    X, y = three
    chosen = np.isin(y, np.unique(y)[:n_classes])
    X, y = X[chosen], y[chosen]
    net = FineTunedClassifier(**NET, image_size=64, unfreeze=unfreeze, max_epochs=1)
    net.fit(X, y)
    display = ActivationMapDisplay.from_estimator(net, X[:6])
    expected = own_score(net, X[:6], display)
    assert_allclose(
        display.scores, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )
    assert display.targets == list(net.predict(X[:6]))
    pickle.dumps(net)  # nothing of ours is left on the network


def test_fine_tuned_regressor_in_its_own_units(three):
    X, _ = three
    y = np.linspace(1000, 2000, 30)
    net = FineTunedRegressor(**NET, image_size=64, max_epochs=1).fit(X, y)
    display = ActivationMapDisplay.from_estimator(net, X[:3])
    assert_allclose(display.scores, net.predict(X[:3]), rtol=1e-4)


def test_pictures_are_what_the_network_sees():
    X = np.zeros((4, 60, 120, 3), dtype=np.uint8)
    X[:, :, :30] = 255  # outside the centre
    X[::2, :, 60:] = 90
    model = make_pipeline(
        PretrainedFeatures("lenet5", layers="stem"), LogisticRegression()
    ).fit(X, [0, 1, 0, 1])
    display = ActivationMapDisplay.from_estimator(model, X)
    size = model[0].info_.recipe.size
    assert display.pictures[0].shape == (*size, 3)
    drawn = display.ax_.images[0].get_array()
    assert_array_equal(drawn, display.pictures[0])


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([features(), SVC()], r"'svc' \(SVC\) is not linear .*kernel='rbf'"),
        ([features(), SVC(kernel="linear")], "votes of class pairs"),
        ([features(), Normalizer(), LinearSVC()], "'normalizer' .* is not an affine"),
        ([features(), RandomForestClassifier(5)], "has no decision_function"),
        ([features(pool="max"), LinearDiscriminantAnalysis()], "Use pool='avg'"),
        (
            [features(layers=["stage1", "stage2"]), LinearDiscriminantAnalysis()],
            "Use one of",
        ),
        ([PretrainedFeatures("lenet5"), LinearSVC()], "layers='stage1'"),
        ([StandardScaler(), LinearSVC()], "does not begin with PretrainedFeatures"),
    ],
    ids=["rbf", "votes", "normalizer", "forest", "max", "layers", "flat", "pixels"],
)
def test_what_has_no_exact_map_is_refused_with_the_reason(three, steps, reason):
    X, y = three
    if isinstance(steps[0], StandardScaler):
        X = X.reshape(30, -1).astype(float)
    model = make_pipeline(*steps).fit(X, y)
    with pytest.raises(ActivationMapError, match=reason):
        ActivationMapDisplay.from_estimator(model, X[:4])


def test_embedding_that_is_no_average_is_refused(three):
    X, y = three
    model = make_pipeline(
        PretrainedFeatures("alexnet", weights=None, random_state=0, image_size=64),
        LogisticRegression(),
    ).fit(X[:6], y[:6])
    with pytest.raises(ActivationMapError, match="'fc6', 'fc7' came after it"):
        ActivationMapDisplay.from_estimator(model, X[:2])


def test_embedding_that_keeps_all_places_is_refused(three):
    X, y = three
    body = nn.Sequential(
        torchvision.models.squeezenet1_1().features[:5], nn.Flatten()
    ).eval()
    model = make_pipeline(
        PretrainedFeatures(body, image_size=64), LogisticRegression(max_iter=5)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[:6], y[:6])
    with pytest.raises(ActivationMapError, match="is not the average of its last"):
        ActivationMapDisplay.from_estimator(model, X[:2])


def test_fine_tuned_net_with_another_head_is_refused(three):
    X, y = three

    def two_layers(n_features, n_outputs):
        return nn.Sequential(
            nn.Linear(n_features, 8), nn.ReLU(), nn.Linear(8, n_outputs)
        )

    net = FineTunedClassifier(
        **NET,
        image_size=64,
        unfreeze="head",
        head=two_layers,
        head_init="random",
        max_epochs=1,
    ).fit(X, y)
    with pytest.raises(ActivationMapError, match="head='linear' has exact maps"):
        ActivationMapDisplay.from_estimator(net, X[:2])


def test_real_images_and_weights(real_data):
    from sktl.datasets import load_image_folder

    pets = load_image_folder(real_data / "cats_vs_dogs").val
    rows = np.r_[:10, -10:0]
    weights = real_data / "weights" / "squeezenet1_0-imagenet.pth"
    model = make_pipeline(
        PretrainedFeatures("squeezenet1_0", weights=weights),
        StandardScaler(),
        LogisticRegression(),
    ).fit(pets.paths[rows], pets.target[rows])
    display = ActivationMapDisplay.from_estimator(
        model, pets.paths[rows], target=1, display_labels=pets.target_names
    )
    assert display.maps.shape == (20, 13, 13)
    expected = model.decision_function(pets.paths[rows])
    assert_allclose(display.scores, expected, rtol=1e-4, atol=1e-4)
