"""rank_backbones: the right order, one pass, honest columns."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatures
from sktl.engine import images_embedded
from sktl.model_selection import rank_backbones


@pytest.fixture(scope="module")
def all_digits():
    """Return 150 digits of ten classes, and their classes."""
    X, y = load_digits(return_X_y=True)
    return X[:150], y[:150]


@pytest.fixture(scope="module")
def untrained():
    return PretrainedFeatures("lenet5", weights=None, random_state=0)


def test_pretrained_on_digits_comes_before_untrained(all_digits, untrained, tmp_path):
    X, y = all_digits
    before = images_embedded()
    ranking = rank_backbones(
        X, y, [untrained.set_params(cache=tmp_path), "lenet5"], cache=tmp_path
    )
    assert images_embedded() - before == 2 * len(X)
    first, second = ranking.table
    assert (first["backbone"], second["backbone"]) == (
        "lenet5",
        "lenet5 (weights=None)",
    )
    assert first["score"] > second["score"]
    assert first["low"] <= first["score"] <= first["high"] <= 1
    assert first["embedded"] == len(X)
    assert first["ms_per_image"] > 0
    assert first["n_features"] == 84
    assert ranking.best.backbone == "lenet5"


def test_score_is_that_of_a_linear_probe_on_the_embeddings(all_digits):
    X, y = all_digits
    cv = StratifiedKFold(4, shuffle=True, random_state=1)
    (row,) = rank_backbones(X, y, "lenet5", cv=cv, scoring="balanced_accuracy").table
    Z = PretrainedFeatures("lenet5").fit_transform(X)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    scores = cross_val_score(probe, Z, y, cv=cv, scoring="balanced_accuracy")
    assert row["score"] == pytest.approx(scores.mean())


def test_what_is_stored_is_not_embedded_again_and_speed_is_still_measured(all_digits):
    X, y = all_digits
    rank_backbones(X, y, "lenet5", cv=2)
    (row,) = rank_backbones(X, y, "lenet5", cv=2).table
    assert row["embedded"] == 0
    assert row["ms_per_image"] > 0.01


def test_regression_and_groups(all_digits):
    X, y = all_digits
    target = y + 0.5
    ranking = rank_backbones(X, target, "lenet5", groups=np.arange(150) // 3)
    assert ranking.scoring == "R²"
    assert 0.5 < ranking.table[0]["score"] < 1


def test_same_random_state_same_scores(all_digits):
    X, y = all_digits
    first, again = (
        rank_backbones(X, y, "lenet5", random_state=5).table[0] for _ in range(2)
    )
    assert (first["score"], first["low"]) == (again["score"], again["low"])


def test_prints_and_becomes_a_frame(all_digits, untrained):
    ranking = rank_backbones(*all_digits, [untrained, "lenet5"], cv=2)
    lines = repr(ranking).splitlines()
    assert lines[0] == "Backbones by accuracy of a linear probe (95% intervals)"
    assert lines[4].startswith("lenet5  ")
    assert ranking._repr_html_().count("<tr>") == 3
    pytest.importorskip("pandas")
    assert list(ranking.to_frame()["backbone"]) == ["lenet5", "lenet5 (weights=None)"]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(150), "only one class"),
        (np.arange(149), r"numbers of samples: \[150, 149\]"),
        (np.arange(150) // 2, "Class 0 has 2 images, fewer than cv=5"),
        (np.zeros((150, 2)), "should be a 1d array"),
        (None, "y is None"),
    ],
)
def test_questions_without_an_answer_are_refused(all_digits, y, message):
    before = images_embedded()
    with pytest.raises(ValueError, match=message):
        rank_backbones(all_digits[0], y, "lenet5")
    assert images_embedded() == before


def test_no_backbone_is_an_error(all_digits):
    with pytest.raises(ValueError, match="backbones is empty"):
        rank_backbones(*all_digits, [])
