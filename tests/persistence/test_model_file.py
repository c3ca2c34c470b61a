"""Model files: what loads, what is refused, and that nothing is executed."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from sktl import (
    FineTunedClassifier,
    FineTunedRegressor,
    PretrainedFeatures,
    ProbeClassifier,
    ProbeRegressor,
)
from sktl.exceptions import (
    ModelFileError,
    ModelFileWarning,
    UnstorableModelError,
    WeightsMismatchError,
    WeightsUnavailableError,
)
from sktl.persistence import describe_model, load_model, save_model


@pytest.fixture(scope="module")
def digits():
    """Return 120 digits, and their classes as words."""
    X, y = load_digits(return_X_y=True)
    return X[:120], np.array(["zero or one", "more"])[(y[:120] > 1).astype(int)]


@pytest.fixture(scope="module")
def model(digits):
    """Return a fitted pipeline."""
    X, y = digits
    steps = PretrainedFeatures("lenet5"), StandardScaler(), LogisticRegression()
    return make_pipeline(*steps).fit(X, y)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """Return the path of that pipeline's file; leave it as it is."""
    path = tmp_path_factory.mktemp("model") / "model.sktl"
    save_model(model, path, metadata={"accuracy": 0.97})
    return path


@pytest.fixture(scope="module")
def tuned(digits):
    """Return a classifier of which one stage and the head are trained."""
    X, y = digits
    return FineTunedClassifier("lenet5", max_epochs=1, random_state=0).fit(X, y)


def rewrite(path, target, *, members=None, redigest=True, compression=0, **manifest):
    """Write a model file again with some of its content exchanged."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    text = json.loads(content.pop("manifest.json")) | manifest
    content |= members or {}
    if redigest:
        text["members"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in content.items()
        }
        text.pop("digest")
        text["digest"] = hashlib.sha256(
            json.dumps(text, sort_keys=True).encode()
        ).hexdigest()
    with zipfile.ZipFile(target, "w", compression) as archive:
        archive.writestr("manifest.json", json.dumps(text))
        for name, data in content.items():
            archive.writestr(name, data)
    return target


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("manifest.json"))["parts"]


HEADS = [
    ProbeClassifier(),
    SVC(),
    LinearSVC(),
    LogisticRegression(),
    KNeighborsClassifier(),
    CalibratedClassifierCV(LinearSVC(), cv=2),
]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_pipeline_predicts_the_same_after_a_round_trip(head, digits, tmp_path):
    X, y = digits
    model = make_pipeline(PretrainedFeatures("lenet5"), StandardScaler(), head)
    model.fit(X, y)
    save_model(model, tmp_path / "m.sktl")
    loaded = load_model(tmp_path / "m.sktl")
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(model, method):
            expected = getattr(model, method)(X)
            np.testing.assert_array_equal(getattr(loaded, method)(X), expected)
    assert loaded.n_features_in_ == 64


@pytest.mark.parametrize("unfreeze", ["head", 1, "all"])
def test_fine_tuned_classifier_predicts_the_same(unfreeze, digits, tmp_path):
    X, y = digits
    model = FineTunedClassifier(
        "lenet5", unfreeze=unfreeze, max_epochs=1, random_state=0, lr=0.002
    ).fit(X, y)
    save_model(model, tmp_path / "m.sktl")
    loaded = load_model(tmp_path / "m.sktl")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.classes_, model.classes_)
    assert loaded.get_params()["lr"] == 0.002
    assert loaded.n_iter_ == 1
    assert loaded.history[0]["train_loss"] == model.history[0]["train_loss"]
    loaded.partial_fit(X, y)  # and goes on learning


@pytest.mark.parametrize("n_targets", [None, 2])
def test_fine_tuned_regressor_predicts_the_same(n_targets, digits, tmp_path):
    X = digits[0]
    y = 100 + X.mean(axis=1)
    y = y if n_targets is None else np.stack([y, -y], axis=1)
    model = FineTunedRegressor("lenet5", max_epochs=1, random_state=0).fit(X, y)
    save_model(model, tmp_path / "m.sktl")
    loaded = load_model(tmp_path / "m.sktl")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_file_saved_before_the_estimators_were_rewritten_loads(name):
    path = Path(__file__).with_name(f"version1_{name}.sktl")
    predictions = np.array(describe_model(path)["metadata"]["predictions"])
    found = load_model(path).predict(load_digits().data[:20])
    if name == "classifier":
        np.testing.assert_array_equal(found, predictions)
    else:
        np.testing.assert_allclose(found, predictions, rtol=1e-4)


def test_infinite_loss_in_the_history_is_left_out(digits, tmp_path):
    X, y = digits
    model = FineTunedClassifier("lenet5", max_epochs=1, random_state=0).fit(X, y)
    model.history[-1]["train_loss"] = float("inf")
    save_model(model, tmp_path / "m.sktl")
    assert "train_loss" not in load_model(tmp_path / "m.sktl").history[-1]


def test_both_strategies_inside_other_estimators(digits, tuned, tmp_path):
    X, y = digits
    frame_like = ColumnTransformer(
        [("image", PretrainedFeatures("lenet5", image_shape=(8, 8)), list(range(64)))]
    )
    union = FeatureUnion(
        [
            ("a", PretrainedFeatures("lenet5")),
            ("b", PretrainedFeatures("lenet5", pool="max")),
        ]
    )
    for model in (
        make_pipeline(frame_like, StandardScaler(), Ridge()),
        make_pipeline(union, StandardScaler(), Ridge()),
        make_pipeline(union, ProbeRegressor()),
    ):
        model.fit(X, y == "more")
        save_model(model, tmp_path / "m.sktl")
        np.testing.assert_array_equal(
            load_model(tmp_path / "m.sktl").predict(X), model.predict(X)
        )
    wrapped = make_pipeline(tuned)
    save_model(wrapped, tmp_path / "m.sktl")
    assert load_model(tmp_path / "m.sktl").score(X, y) == wrapped.score(X, y)


def test_search_is_saved_as_its_best_estimator(digits, tmp_path):
    X, y = digits
    model = make_pipeline(PretrainedFeatures("lenet5"), LogisticRegression())
    search = GridSearchCV(model, {"logisticregression__C": [0.1, 1]}, cv=2).fit(X, y)
    save_model(search, tmp_path / "m.sktl")
    loaded = load_model(tmp_path / "m.sktl")
    assert search.best_params_ == {"logisticregression__C": loaded[-1].C}
    np.testing.assert_array_equal(loaded.predict(X), search.predict(X))


def test_learned_value_range_and_random_weights_come_back(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.random((6, 32, 32)) * 900
    model = PretrainedFeatures("lenet5", weights=None).fit(X)
    save_model(model, tmp_path / "m.sktl")
    loaded = load_model(tmp_path / "m.sktl")
    assert loaded.value_range_ == model.value_range_ != (0.0, 1.0)
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))


def test_loading_neither_changes_the_model_nor_random_numbers(
    digits, tuned, model, tmp_path
):
    import torch

    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    step = model[0]
    for estimator in (tuned, model):
        save_model(estimator, tmp_path / "m.sktl")
        load_model(tmp_path / "m.sktl")
    assert model[0] is step
    after = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert before == after


def test_loading_works_where_unpickling_is_impossible(saved):
    code = (
        "import pickle\n"
        "def refuse(*args, **kwargs): raise AssertionError('pickle')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "from sktl.persistence import load_model\n"
        f"model = load_model({str(saved)!r})\n"
        "print(type(model).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["Pipeline"], done.stderr


def test_description_says_what_the_model_is(saved, model, tmp_path):
    found = describe_model(saved)
    assert found["classes"] == ["more", "zero or one"]
    assert found["backbones"] == ["lenet5"]
    assert found["weights"][0].startswith("sha256:")
    assert found["metadata"] == {"accuracy": 0.97}
    assert "PretrainedFeatures" in found["estimator"]
    save_model(model, tmp_path / "m.sktl", class_names=["viele", "wenige"])
    assert describe_model(tmp_path / "m.sktl")["class_names"] == ["viele", "wenige"]
    with pytest.raises(ValueError, match="3 names for 2 classes"):
        save_model(model, tmp_path / "m.sktl", class_names=["a", "b", "c"])


def test_one_flipped_bit_anywhere_is_noticed(saved, tmp_path):
    whole = saved.read_bytes()
    target = tmp_path / "flipped.sktl"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(saved) as archive:
        spans = [
            (member.header_offset + 30 + len(member.filename), member.file_size)
            for member in archive.infolist()
        ]
    for start, size in spans:
        for position in rng.integers(start, start + size, 40):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << rng.integers(8)
            target.write_bytes(damaged)
            with pytest.raises(ModelFileError):
                load_model(target)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_is_refused(share, saved, tmp_path):
    content = saved.read_bytes()
    target = tmp_path / "cut.sktl"
    target.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError):
        load_model(target)


def test_foreign_files_are_refused(tmp_path, stripe_paths):
    pickled, zipped = tmp_path / "a.pkl", tmp_path / "b.zip"
    pickled.write_bytes(pickle.dumps(LogisticRegression()))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("holiday.txt", "sun")
    for path in (pickled, zipped, stripe_paths[0][0]):
        with pytest.raises(ModelFileError, match="not a model file of sktl"):
            load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nowhere.sktl")


def test_other_format_version_is_refused_with_both_versions(saved, tmp_path):
    future = rewrite(saved, tmp_path / "m.sktl", format_version=7)
    with pytest.raises(ModelFileError, match=r"version 7.* version 1.*0\.1\.0"):
        load_model(future)


def test_altered_content_is_refused(saved, tmp_path):
    members = {"estimator.skops": b"something else"}
    altered = rewrite(saved, tmp_path / "m.sktl", members=members, redigest=False)
    with pytest.raises(ModelFileError, match=r"estimator\.skops is not what was saved"):
        load_model(altered)
    altered = rewrite(saved, tmp_path / "m.sktl", classes=None, redigest=False)
    with pytest.raises(ModelFileError, match=r"manifest\.json is not what was saved"):
        load_model(altered)


def test_compressed_members_and_strange_names_are_refused(saved, tmp_path):
    bomb = rewrite(saved, tmp_path / "m.sktl", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFileError, match="compressed"):
        load_model(bomb)
    for name in ("../../evil.sh", "/etc/passwd", "model.pkl"):
        strange = rewrite(saved, tmp_path / "m.sktl", members={name: b"x"})
        with pytest.raises(ModelFileError, match="missing or unknown"):
            load_model(strange)


def test_compressed_archive_inside_is_refused(saved, tmp_path):
    import io

    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 10_000_000)
    members = {"estimator.skops": inner.getvalue()}
    with pytest.raises(ModelFileError, match="compressed"):
        load_model(rewrite(saved, tmp_path / "m.sktl", members=members))


class Evil:
    """Does something when it is unpickled or constructed."""

    def __reduce__(self):
        return os.system, ("echo executed",)


@pytest.mark.parametrize(
    "node",
    [
        {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"},
        {"__class__": "Popen", "__module__": "subprocess", "__loader__": "ObjectNode"},
        {"__class__": "eval", "__module__": "builtins", "__loader__": "FunctionNode"},
        {
            "__class__": "call",
            "__module__": "operator",
            "__loader__": "OperatorFuncNode",
        },
        {
            "__class__": "partial",
            "__module__": "functools",
            "__loader__": "PartialNode",
        },
    ],
    ids=lambda node: node["__class__"],
)
def test_types_that_no_model_needs_are_refused(node, saved, tmp_path):
    import io

    with zipfile.ZipFile(saved) as archive:
        content = archive.read("estimator.skops")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(inside["schema.json"])
    inside["schema.json"] = json.dumps({**schema, **node}).encode()
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for name, data in inside.items():
            archive.writestr(name, data)
    members = {"estimator.skops": inner.getvalue()}
    with pytest.raises(ModelFileError, match="types that no model of sktl needs"):
        load_model(rewrite(saved, tmp_path / "m.sktl", members=members))


def test_models_that_hold_code_cannot_be_saved(digits, tmp_path):
    import torch

    X, y = digits
    target = tmp_path / "m.sktl"
    features = PretrainedFeatures("lenet5")
    own = make_pipeline(
        FunctionTransformer(np.sqrt), features, LogisticRegression(C=0.01)
    )
    with pytest.raises(UnstorableModelError, match=r"sqrt|ufunc"):
        save_model(own.fit(X, y), target)
    forest = make_pipeline(features, RandomForestClassifier(2, random_state=0))
    with pytest.raises(UnstorableModelError, match="Tree"):
        save_model(forest.fit(X, y), target)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AvgPool2d(2))
    with pytest.raises(UnstorableModelError, match="backbone of your own"):
        save_model(PretrainedFeatures(network, image_size=32).fit(X), target)
    with pytest.raises(UnstorableModelError, match="no estimator of sktl"):
        save_model(LogisticRegression().fit(X, y), target)
    assert not target.exists()


def test_training_parameters_that_are_code_are_left_out_with_a_warning(
    digits, tmp_path
):
    import torch

    X, y = digits
    model = FineTunedClassifier(
        "lenet5", max_epochs=1, random_state=0, optimizer=torch.optim.SGD
    ).fit(X, y)
    with pytest.warns(ModelFileWarning, match="optimizer") as caught:
        save_model(model, tmp_path / "m.sktl")
    assert caught[0].filename == __file__
    loaded = load_model(tmp_path / "m.sktl")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_unfitted_estimator_is_refused(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        save_model(PretrainedFeatures("lenet5"), tmp_path / "m.sktl")


def test_weights_file_that_is_gone_changed_or_elsewhere(digits, tmp_path):
    from safetensors.numpy import load_file, save_file

    from sktl.backbones import resolve

    X, y = digits
    path, moved = tmp_path / "w.safetensors", tmp_path / "moved.safetensors"
    state = resolve("lenet5").weights.locate()
    path.write_bytes(state.read_bytes())
    model = make_pipeline(
        PretrainedFeatures("lenet5", weights=path), LogisticRegression(max_iter=1000)
    ).fit(X, y)
    save_model(model, tmp_path / "m.sktl")
    path.rename(moved)
    with pytest.raises(WeightsUnavailableError, match="does not exist"):
        load_model(tmp_path / "m.sktl")
    loaded = load_model(tmp_path / "m.sktl", weights=moved)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    arrays = load_file(moved)
    arrays[min(arrays)] = arrays[min(arrays)] + 1
    save_file(arrays, path)
    with pytest.raises(WeightsMismatchError, match="other weights of 'lenet5'"):
        load_model(tmp_path / "m.sktl")


def test_backbone_that_is_an_address_is_refused(saved, tmp_path):
    parts = parts_of(saved)
    parts[0]["params"]["backbone"] = "timm/hf-hub:someone/something"
    with pytest.raises(ModelFileError, match="not the name"):
        load_model(rewrite(saved, tmp_path / "m.sktl", parts=parts))


def test_other_preparation_is_refused(saved, tmp_path):
    parts = parts_of(saved)
    parts[0]["preparation"] = parts[0]["preparation"].replace("p1:", "p0:")
    with pytest.raises(ModelFileError, match="prepares images"):
        load_model(rewrite(saved, tmp_path / "m.sktl", parts=parts))


def test_crafted_manifests_are_refused(saved, tmp_path):
    for parts in (
        [],
        [{}],
        [{"type": "Popen"}],
        "x",
        [{**parts_of(saved)[0], "type": 3}],
    ):
        with pytest.raises(ModelFileError):
            load_model(rewrite(saved, tmp_path / "m.sktl", parts=parts))
    for name, value in (
        ("pool", "median"),
        ("image_size", {"array": [1], "shape": [7], "dtype": "<i8"}),
        ("image_size", {"array": ["x"], "shape": [1], "dtype": "<U1000000000"}),
        ("image_size", {"array": [1], "shape": [1], "dtype": "V8"}),
        ("nonsense", 1),
    ):
        parts = parts_of(saved)
        parts[0]["params"][name] = value
        with pytest.raises(ModelFileError):
            load_model(rewrite(saved, tmp_path / "m.sktl", parts=parts))


def test_trained_weights_that_do_not_fit_are_refused(tuned, tmp_path):
    from safetensors.numpy import save

    path = tmp_path / "m.sktl"
    save_model(tuned, path)
    members = {"part0.safetensors": save({"head.weight": np.zeros((2, 3), np.float32)})}
    with pytest.raises(ModelFileError, match="do not fit"):
        load_model(rewrite(path, path, members=members))


@pytest.mark.parametrize(
    "facts", [np.zeros(3, np.uint8), np.array([1.5, -3.0]), np.array([900])]
)
def test_crafted_facts_are_refused(tuned, tmp_path, facts):
    from safetensors.numpy import load, save

    path = tmp_path / "m.sktl"
    save_model(tuned, path)
    with zipfile.ZipFile(path) as file:
        arrays = load(file.read("part0.safetensors"))
    members = {"part0.safetensors": save({**arrays, "_extra_state": facts})}
    with pytest.raises(ModelFileError, match="do not fit"):
        load_model(rewrite(path, path, members=members))


def test_failed_write_leaves_the_former_file(saved, model, tmp_path, monkeypatch):
    target = tmp_path / "m.sktl"
    target.write_bytes(saved.read_bytes())

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_model(model, target)
    assert target.read_bytes() == saved.read_bytes()
    assert os.listdir(tmp_path) == ["m.sktl"]


def test_other_scikit_learn_is_a_warning(saved, tmp_path):
    versions = {**describe_model(saved)["versions"], "scikit-learn": "1.2.0"}
    old = rewrite(saved, tmp_path / "m.sktl", versions=versions)
    with pytest.warns(ModelFileWarning, match=r"scikit-learn 1\.2\.0"):
        load_model(old)


def test_model_from_files_predicts_files(stripe_paths, tmp_path):
    paths, y = stripe_paths
    model = make_pipeline(
        PretrainedFeatures("lenet5"), LogisticRegression(max_iter=1000)
    ).fit(paths, y)
    save_model(model, tmp_path / "m.sktl", class_names=["horizontal", "vertical"])
    loaded = load_model(tmp_path / "m.sktl")
    assert (loaded.predict(paths) == model.predict(paths)).all()
    assert (
        loaded.predict([Image.open(p) for p in paths]) == model.predict(paths)
    ).all()
