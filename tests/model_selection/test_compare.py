"""compare: fair splits, nested choices, honest numbers, errors before the work."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktl import FineTunedClassifier, PretrainedFeatures, ProbeClassifier
from sktl.engine import images_embedded
from sktl.exceptions import DuplicateImagesWarning, UnreadableImageError
from sktl.model_selection import compare

# What makes a small comparison: one head, no fine-tuning, no search for copies.
QUICK = {
    "backbones": ["lenet5"],
    "heads": ["logistic"],
    "unfreeze": None,
    "baselines": ["simplest"],
    "duplicates": "ignore",
    "cv": 3,
}


@pytest.fixture(scope="module")
def everything(digits):
    """Return a comparison with all baselines and both strategies."""
    X, y = digits
    names = np.array(["zero", "one", "two", "three"])[y]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DuplicateImagesWarning)
        return compare(
            X,
            names,
            backbones=["lenet5"],
            unfreeze=["head"],
            fine_tuning={"max_epochs": 2, "augment": "none"},
            cv=3,
            n_repeats=2,
        )


def test_baselines_and_both_strategies_are_there(everything):
    assert {row["name"] for row in everything.table} == {
        "most frequent class",
        "pixels + svc",
        "colors + svc",
        "untrained lenet5 + logistic",
        "lenet5 + logistic",
        "lenet5 + svc",
        "lenet5 fine-tuned, unfreeze='head'",
    }
    assert {row["strategy"] for row in everything.table} == {
        "baseline",
        "frozen",
        "fine-tuned",
    }
    scores = [row["score"] for row in everything.table]
    assert scores == sorted(scores, reverse=True)
    assert everything.table[-1]["name"] == "most frequent class"
    assert everything.table[0]["name"] == everything.best_name_


def test_every_column_is_filled(everything):
    for row in everything.table:
        for key in ("score", "low", "high", "difference", "p_value", "model_kb"):
            assert np.isfinite(row[key]), (row["name"], key)
        assert row["low"] <= row["score"] <= row["high"]
        assert row["fit_seconds"] > 0
        assert row["predict_ms"] > 0
    assert everything.table[0]["difference"] == 0
    assert len(everything.splits_) == 6
    assert everything.seconds_ > 0


def test_predictions_are_out_of_fold_and_of_the_users_labels(everything, digits):
    names = np.array(["zero", "one", "two", "three"])[digits[1]]
    assert_array_equal(everything.y_, names)
    assert everything.tested_.all()
    for name, predictions in everything.predictions_.items():
        first_repeat = everything.scores_[name][:3]
        folds = [test for _, test in everything.splits_[:3]]
        expected = [np.mean(predictions[test] == names[test]) for test in folds]
        assert_allclose(first_repeat, expected, err_msg=name)
    chosen = everything.probabilities_["lenet5 + logistic"]
    assert_allclose(chosen.sum(axis=1), 1, rtol=1e-6)
    assert_array_equal(
        everything.classes_[chosen.argmax(axis=1)],
        everything.predictions_["lenet5 + logistic"],
    )
    assert "lenet5 + svc" not in everything.probabilities_


def test_best_estimator_is_whole_and_fitted_to_everything(everything, digits):
    X, _ = digits
    again = pickle.loads(pickle.dumps(everything)).best_estimator_
    assert again.score(X, everything.y_) > 0.95
    assert_array_equal(again.classes_, everything.classes_)


def test_estimators_can_be_fitted_anew(everything, digits):
    for name, estimator in everything.estimators_.items():
        if "fine-tuned" not in name:
            fitted = clone(estimator).fit(digits[0], everything.y_)
            assert set(fitted.predict(digits[0])) <= set(everything.classes_)


def test_best_estimator_predicts_as_its_parameters_do(digits):
    X, y = digits
    found = compare(X, y, **QUICK)
    pipeline = found.estimators_[found.best_name_]
    pipeline.set_params(**found.best_params_)
    assert_array_equal(
        found.best_estimator_.predict_proba(X), pipeline.fit(X, y).predict_proba(X)
    )


def test_is_a_nested_cross_validation(digits):
    X, y = digits
    outer = StratifiedKFold(3, shuffle=True, random_state=0)
    head = (SVC(), {"C": [0.001, 1.0, 10.0]})
    found = compare(X, y, **{**QUICK, "heads": [head], "cv": outer, "inner_cv": 2})
    Z = PretrainedFeatures("lenet5").fit_transform(X)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SVC()), {"svc__C": head[1]["C"]}, cv=2
    )
    expected = cross_val_score(search, Z, y, cv=outer)
    assert_allclose(found.scores_["lenet5 + SVC"], expected, atol=0.026)
    assert found.best_params_["head__C"] > 0.001


def test_same_numbers_with_any_number_of_processes(digits):
    X, y = digits
    one = compare(X, y, **QUICK)
    two = compare(X, y, **QUICK, n_jobs=2)
    for name, scores in one.scores_.items():
        assert_array_equal(scores, two.scores_[name])
        assert_array_equal(one.predictions_[name], two.predictions_[name])


def test_each_image_is_embedded_once(digits, tmp_path):
    X, y = digits
    before = images_embedded()
    settings = {**QUICK, "heads": ["logistic", "svc"], "n_repeats": 2}
    found = compare(X, y, **settings, cache=str(tmp_path))
    assert images_embedded() - before == len(X)
    embedded = {row["name"]: row["embedded"] for row in found.table}
    assert embedded["lenet5 + logistic"] == embedded["lenet5 + svc"] == len(X)


def test_regression(digits):
    X, y = digits
    target = y + np.random.default_rng(0).normal(scale=0.1, size=len(y))
    found = compare(
        X,
        target,
        **{**QUICK, "heads": None, "unfreeze": ["head"]},
        fine_tuning={"max_epochs": 1, "augment": "none"},
    )
    assert (found.task, found.scoring, found.classes_) == ("regression", "R²", None)
    assert {row["name"] for row in found.table} == {
        "mean of y",
        "lenet5 + ridge",
        "lenet5 + svr",
        "lenet5 fine-tuned, unfreeze='head'",
    }
    assert found.table[0]["score"] > 0.8
    assert found.predictions_["lenet5 + ridge"].dtype == float


def test_the_form_of_the_images_does_not_matter(stripe_paths, stripes):
    pandas = pytest.importorskip("pandas")
    paths, y = stripe_paths
    settings = {**QUICK, "baselines": ["pixels"]}
    expected = compare(stripes[0], y, **settings)
    for X in (paths, list(paths), pandas.DataFrame({"image": paths})):
        found = compare(X, pandas.Series(y), **settings)
        for name, scores in expected.scores_.items():
            assert_array_equal(found.scores_[name], scores)


def test_groups_stay_on_one_side(digits):
    X, y = digits
    groups = np.arange(len(y)) // 4
    found = compare(X, y, **QUICK, groups=groups)
    for train, test in found.splits_:
        assert not set(groups[train]) & set(groups[test])
    found = compare(X, y + 0.5, **{**QUICK, "heads": ["ridge"]}, groups=groups)
    for train, test in found.splits_:
        assert not set(groups[train]) & set(groups[test])


def test_groups_reach_the_inner_search():
    # Each image five times, labels by chance: without groups, the inner search sees
    # copies on both sides and finds that learning them by heart pays.
    rng = np.random.default_rng(0)
    X = np.repeat(rng.integers(0, 256, (40, 16, 16), dtype=np.uint8), 5, axis=0)
    y = np.repeat(np.arange(40) % 4 == 0, 5)
    head = (LogisticRegression(), {"C": [1e-8, 1e3]})
    loose = compare(X, y, **{**QUICK, "heads": [head]})
    grouped = compare(
        X, y, **{**QUICK, "heads": [head]}, groups=np.repeat(np.arange(40), 5)
    )
    assert loose.best_params_["head__C"] == 1e3
    rows = [row for row in grouped.table if row["strategy"] == "frozen"]
    assert rows[0]["params"]["head__C"] == 1e-8


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (FineTunedClassifier, {"heads": [], "unfreeze": ["head"]}),
        (ProbeClassifier, {"heads": ["logistic"]}),
    ],
)
def test_groups_reach_fine_tuning_and_the_probe(digits, monkeypatch, kind, what):
    X, y = digits
    groups = np.arange(len(y)) // 2
    seen, fit = [], kind.fit

    def witness(self, X, y, sample_weight=None, groups=None):
        seen.append(groups)
        return fit(self, X, y, sample_weight, groups)

    monkeypatch.setattr(kind, "fit", witness)
    found = compare(
        X,
        y,
        **{**QUICK, **what, "baselines": []},
        fine_tuning={"max_epochs": 1, "augment": "none"},
        groups=groups,
        refit=False,
    )
    assert len(seen) >= len(found.splits_)  # what is cheap is also fitted to fewer rows
    for given, (train, _) in zip(seen, found.splits_, strict=False):
        assert_array_equal(given, groups[train])


def with_copies(digits):
    """Return images of which the last twenty are copies of the first."""
    X, y = digits
    return np.concatenate([X, X[:20]]), np.concatenate([y, y[:20]])


def test_copies_on_both_sides_are_warned_of(digits):
    X, y = with_copies(digits)
    settings = {**QUICK, "duplicates": "warn"}
    with pytest.warns(DuplicateImagesWarning, match="inflates the score") as caught:
        found = compare(X, y, **settings)
    assert str(caught[0].message) in found.warnings_
    assert "row 0 and row 120" in found.warnings_[0]
    assert (found.duplicate_groups_[120:] == found.duplicate_groups_[:20]).all()


def test_copies_can_be_kept_together(digits):
    X, y = with_copies(digits)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DuplicateImagesWarning)
        found = compare(X, y, **{**QUICK, "duplicates": "group"})
    for train, test in found.splits_:
        copies = found.duplicate_groups_
        assert not set(copies[train]) & set(copies[test])


def test_copies_with_different_labels_are_warned_of(digits):
    X, y = with_copies(digits)
    y[120] = (y[120] + 1) % 4
    with pytest.warns(DuplicateImagesWarning, match="1 pair of copies has different"):
        compare(X, y, **{**QUICK, "duplicates": "group"})


def test_mirror_images_with_different_labels_may_be_right(digits):
    X, y = digits
    mirror_images = X[:10].reshape(-1, 8, 8)[:, :, ::-1].reshape(10, 64)
    X, y = np.concatenate([X, mirror_images]), np.append(y, (y[:10] + 1) % 4)
    with pytest.warns(DuplicateImagesWarning, match="left and right hands"):
        found = compare(X, y, **{**QUICK, "duplicates": "group"})
    kinds = {pair.kind for pair in found.duplicate_pairs_}
    assert kinds == {"mirrored"}
    assert "copies have different labels: row" in found.warnings_[0]


def test_warnings_of_fits_are_collected(digits):
    X, y = digits
    head = LogisticRegression(max_iter=1)
    found = compare(X, y, **{**QUICK, "heads": [head]})
    (message,) = found.warnings_
    assert message.startswith("lenet5 + LogisticRegression, in 3 of 3 fits: lbfgs")
    assert message in repr(found)


def test_differences_are_paired_and_antisymmetric(everything):
    names = "lenet5 + logistic", "most frequent class"
    found = everything.difference(*names)
    mirrored = everything.difference(*names[::-1])
    assert found.mean == -mirrored.mean > 0.5
    assert found.low == pytest.approx(-mirrored.high)
    assert found.p_value == pytest.approx(mirrored.p_value)
    assert found.p_value < 0.001
    with pytest.raises(ValueError, match="'lenet' was not compared"):
        everything.difference("lenet", names[0])


def test_scoring_is_used_to_choose_and_to_judge(digits):
    X, y = digits
    found = compare(X, y % 2, **QUICK, scoring="roc_auc")
    assert found.scoring == "roc_auc"
    assert_allclose(found.scores_["most frequent class"], 0.5)


def test_weights_by_name_and_transformers_as_they_are(digits):
    X, y = digits
    layers = PretrainedFeatures("lenet5", layers="stage2")
    found = compare(
        X,
        y,
        **{**QUICK, "backbones": [layers, "lenet5"], "baselines": ["untrained"]},
        weights={"lenet5": None},
    )
    assert {row["name"] for row in found.table} == {
        "untrained lenet5 + logistic",
        "lenet5 (layers='stage2') + logistic",
        "lenet5 (weights=None) + logistic",
    }


def test_splits_that_leave_images_out(digits):
    X, y = digits
    cv = [(np.arange(60), np.arange(60, 90))]
    found = compare(X, y, **{**QUICK, "cv": cv})
    assert found.tested_.sum() == 30
    assert 0.7 < found.table[0]["low"] < 0.9  # Wilson's, of 20 images
    assert "1 split:" in repr(found)
    r2 = compare(X, y + 0.5, **{**QUICK, "heads": ["ridge"], "cv": cv})
    assert np.isnan(r2.table[0]["low"])
    assert "There is no confidence interval" in r2.summary()


def test_undefined_scores_come_last(digits):
    X, y = digits

    def only_better_than_chance(estimator, X, y):
        score = estimator.score(X, y)
        return score if score > 0.5 else np.nan

    settings = {**QUICK, "heads": [LogisticRegression()], "refit": False}
    found = compare(X, y, **settings, scoring=only_better_than_chance)
    assert found.best_name_ == "lenet5 + LogisticRegression"
    assert np.isnan(found.table[-1]["score"])
    assert found.scoring == "only_better_than_chance"
    assert not hasattr(found, "best_estimator_")


def test_prints_plots_and_becomes_a_frame(everything):
    text = repr(everything)
    assert text.startswith("120 images, 6 splits: accuracy with 95% intervals")
    assert f"Best: {everything.best_name_}" in text
    html = everything._repr_html_()
    assert html.count("<tr>") == 8
    assert "&#x27;head&#x27;" in html
    frame = everything.to_frame()
    assert list(frame["name"]) == [row["name"] for row in everything.table]


def test_plot_has_a_point_for_each_candidate(everything):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    ax = everything.plot(figure.add_subplot())
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == [row["name"] for row in everything.table]
    points = sum(len(bar.lines[0].get_xdata()) for bar in ax.containers)
    assert points == 7


def test_says_when_no_network_beats_a_baseline():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.integers(0, 100, (60, 16, 16, 3)).astype(np.uint8)
    X[y == 1, ..., 0] += 100
    found = compare(X, y, **{**QUICK, "baselines": ["colors", "pixels"]})
    assert found.table[0]["strategy"] == "baseline"
    assert "No pretrained network beats this baseline" in found.summary()


@pytest.mark.parametrize(
    ("y", "changes", "message"),
    [
        (np.zeros(120), {}, "only one class"),
        (np.zeros(119), {}, r"inconsistent numbers of samples: \[120, 119\]"),
        (np.r_[0, 0, np.ones(118)], {}, "Class 0.0 has 2 images, fewer than cv=3"),
        (["a", *["b"] * 119], {}, "Class a has 1 image, fewer than cv=3"),
        (np.arange(120) % 2, {"cv": 121}, "fewer than cv=121 folds"),
        (np.arange(120) / 7, {"cv": 121}, "greater than the number of samples"),
        (np.arange(120) % 2, {"cv": 1}, "n_splits=2 or more"),
        (np.arange(120) % 2, {"groups": np.arange(120) % 2}, "more folds than groups"),
        (np.arange(120) % 2, {"groups": [1, 2]}, r"samples: \[120, 120, 2\]"),
        (np.r_[np.nan, np.ones(119)], {}, "NaN"),
        (np.array([None] * 2 + ["a"] * 118, dtype=object), {}, "missing labels"),
        (np.arange(120) % 2, {"baselines": ["pixel"]}, "'pixel' is unknown"),
        (np.arange(120) % 2, {"heads": [], "baselines": []}, "all empty"),
        (np.arange(120) % 2, {"heads": ["svc", "svc"]}, "2 candidates are called"),
        (np.arange(120) % 2, {"backbones": []}, "backbones is empty"),
        (np.arange(120) % 2, {"weights": {"lenet": None}}, "'lenet', which is not"),
        (np.arange(120) / 7, {"task": "classification"}, "task='regression'"),
    ],
)
def test_bad_questions_are_refused_before_any_work(digits, y, changes, message):
    before = images_embedded()
    with pytest.raises(ValueError, match=message):
        compare(digits[0], y, **{**QUICK, **changes})
    assert images_embedded() == before


def test_unreadable_images_are_all_named_before_any_work(stripe_paths, tmp_path):
    paths, y = stripe_paths
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    X = paths.copy()
    X[[3, 30]] = str(broken), str(tmp_path / "absent.jpg")
    for duplicates in ("warn", "ignore"):
        before = images_embedded()
        with pytest.raises(UnreadableImageError) as caught:
            compare(X, y, **{**QUICK, "cv": 2, "duplicates": duplicates})
        assert "row 3 (" in str(caught.value)
        assert "row 30 (" in str(caught.value)
        assert duplicates == "ignore" or images_embedded() == before


def test_a_class_of_one_group_is_refused(digits):
    X, y = digits
    groups = np.where(y == 3, 0, np.arange(len(y)))
    with pytest.raises(ValueError, match="class 3 are in one group"):
        compare(X, y, **QUICK, groups=groups)


def test_custom_splitter_is_used_as_it_is(digits):
    X, y = digits
    cv = KFold(4, shuffle=True, random_state=2)
    found = compare(X, y, **{**QUICK, "cv": cv})
    for (train, test), expected in zip(found.splits_, cv.split(X), strict=True):
        assert_array_equal(train, expected[0])
        assert_array_equal(test, expected[1])


@pytest.mark.parametrize("image_size", [None, 40])
def test_prints_every_advice_whatever_the_size_of_images(digits, image_size):
    X, y = digits
    settings = {**QUICK, "unfreeze": ["head"], "baselines": ["untrained"]}
    found = compare(
        X,
        y,
        **settings,
        image_size=image_size,
        fine_tuning={"max_epochs": 1, "augment": "none"},
    )
    text = repr(found)
    for words in ("Best: ", "Recommended: ", "with random weights", "Going from 40 to"):
        assert words in text
        assert words in found._repr_html_()


def test_one_rule_decides_which_candidate_is_best(digits):
    # Both strategies are right about every image: the simpler one is the best.
    X, y = digits
    found = compare(
        X,
        y,
        **{**QUICK, "unfreeze": ["head"]},
        fine_tuning={"max_epochs": 0, "augment": "none"},
    )
    rows = {row["strategy"]: row for row in found.table}
    assert rows["fine-tuned"]["score"] == rows["frozen"]["score"] == 1
    assert found.best_name_ == found.table[0]["name"] == rows["frozen"]["name"]
    assert f"Best: {found.best_name_}" in found.summary()
    assert "Recommended: frozen features" in found.summary()
    assert found.best_estimator_.steps[0][0] == "features"


def test_images_in_groups_have_wider_intervals(digits):
    X, y = digits
    head = LogisticRegression(C=1e-5)
    settings = {**QUICK, "heads": [head], "cv": 5}
    loose = compare(X, y, **settings)
    grouped = compare(X, y, **settings, groups=np.arange(len(y)) // 2)
    assert grouped.grouped_
    assert not loose.grouped_
    wide = [row["high"] - row["low"] for row in (loose.table[0], grouped.table[0])]
    assert wide[0] < wide[1]


def test_the_default_backbone_is_ranked_beside_pocket():
    defaults = inspect.signature(compare).parameters["backbones"].default
    assert defaults == (PretrainedFeatures().backbone, "pocket")


def test_a_head_that_needs_many_rows_has_no_label_curve(digits):
    X, y = digits[0][:90], digits[1][:90] % 3
    head = make_pipeline(PCA(50), LogisticRegression(max_iter=300))
    found = compare(X, y, **{**QUICK, "heads": [head]})
    assert found.label_curve_ is None
    assert np.isfinite(found.table[0]["score"])


def test_groups_reach_a_searched_head_also_with_metadata_routing(digits, monkeypatch):
    X, y = digits
    groups, seen, fit = np.arange(len(y)) // 2, [], ProbeClassifier.fit

    def witness(self, X, y, sample_weight=None, groups=None):
        seen.append(groups is not None)
        return fit(self, X, y, sample_weight, groups)

    monkeypatch.setattr(ProbeClassifier, "fit", witness)
    head = (ProbeClassifier(), {"class_weight": [None, "balanced"]})
    with config_context(enable_metadata_routing=True):
        compare(X, y, **{**QUICK, "heads": [head]}, groups=groups, label_curve=False)
    assert all(seen)


def test_an_iterator_of_splits_is_read_once(digits):
    X, y = with_copies(digits)
    folds = StratifiedKFold(3).split(X, y)
    with pytest.warns(DuplicateImagesWarning):
        found = compare(X, y, **{**QUICK, "cv": folds, "duplicates": "group"})
    assert len(found.splits_) == 3
