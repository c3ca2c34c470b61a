"""Targets, errors, pickles, interrupts, random state, searches."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from skorch.callbacks import Callback
from skorch.exceptions import DeviceWarning

from sktl import FineTunedClassifier, PretrainedFeatures
from sktl.engine import images_embedded


@pytest.mark.parametrize(
    "labels",
    [
        np.array([f"class {i}" for i in range(10)]),
        np.array([f"class {i}" for i in range(10)], dtype=object),
        np.arange(10) * 7 - 20,
        np.arange(10) > 4,
    ],
    ids=["str", "object", "gaps", "bool"],
)
def test_labels_of_any_kind_come_back(digits, labels, classifier):
    X, y = digits
    net = classifier().fit(X, labels[y])
    assert list(net.classes_) == sorted(set(labels))
    assert net.predict(X).dtype == net.classes_.dtype
    assert net.score(X, labels[y]) > 0.95
    assert net.predict_proba(X).dtype == np.float32


def test_two_classes_have_one_decision(digits, classifier):
    X, y = digits
    net = classifier().fit(X, y > 4)
    decision = net.decision_function(X)
    assert decision.shape == (200,)
    np.testing.assert_array_equal(decision > 0, net.predict(X))
    probability = 1 / (1 + np.exp(-decision.astype(float)))
    np.testing.assert_allclose(net.predict_proba(X)[:, 1], probability, atol=1e-5)


@pytest.mark.parametrize("params", [{}, {"early_stopping": True, "mixup": 0.2}])
def test_several_labels_per_image(digits, params, classifier):
    X, y = digits
    Y = np.stack([y > 4, y % 2 == 0, y == 3], axis=1).astype(int)
    net = classifier(label_smoothing=0.05, **params).fit(X, Y)
    assert net.predict(X).shape == net.predict_proba(X).shape == (200, 3)
    assert net.predict(X).dtype == Y.dtype
    assert (net.predict(X) == Y).mean() > 0.95
    assert net.score(X, Y) > 0.85


def test_several_targets(digits, regressor):
    X, y = digits
    Y = np.stack([y * 1000.0, -0.001 * y], axis=1)
    net = regressor().fit(X, Y)
    assert net.predict(X).shape == (200, 2)
    assert net.score(X, Y) > 0.8
    assert np.abs(net.predict(X) - Y).mean(0)[1] < 0.002


def test_class_weight_moves_the_decision(digits, classifier):
    X, y = digits
    y = (y == 8).astype(int)
    shares = {
        key: classifier(class_weight=weight).fit(X[:40], y[:40])
        for key, weight in {
            "none": None,
            "balanced": "balanced",
            "dict": {0: 1, 1: 1000},
        }.items()
    }
    chance = {key: net.predict_proba(X)[:, 1].mean() for key, net in shares.items()}
    assert chance["none"] < chance["balanced"] < chance["dict"]


def test_balanced_is_the_dict_that_it_stands_for(digits, classifier):
    X, y = digits
    y = (y == 8).astype(int)
    n, n1 = len(y), y.sum()
    weight = {0: n / (2 * (n - n1)), 1: n / (2 * n1)}
    a = classifier(class_weight="balanced").fit(X, y)
    b = classifier(class_weight=weight).fit(X, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-5)


def test_label_smoothing_tempers(digits, classifier):
    X, y = digits
    plain = classifier(max_epochs=20).fit(X, y).predict_proba(X).max(1).mean()
    net = classifier(max_epochs=20, lr=1e-2, label_smoothing=0.3).fit(X, y)
    assert net.predict_proba(X).max(1).mean() < plain - 0.05


def test_classes_that_a_fold_lacks_can_be_named(digits, classifier):
    X, y = digits
    net = classifier(classes=range(12)).fit(X[y < 9], y[y < 9])
    assert list(net.classes_) == list(range(12))
    assert net.predict_proba(X).shape == (200, 12)
    assert net.score(X[y < 9], y[y < 9]) > 0.9


def test_criterion_of_the_user(digits, classifier, regressor):
    X, y = digits
    net = classifier(
        criterion=torch.nn.MultiMarginLoss,
        criterion__margin=2.0,
        class_weight="balanced",
    ).fit(X, y)
    assert net.criterion_.margin == 2.0
    assert net.score(X, y) > 0.9
    nll = classifier(criterion=torch.nn.NLLLoss).fit(X, y)
    same = classifier(criterion=torch.nn.CrossEntropyLoss).fit(X, y)
    np.testing.assert_allclose(nll.predict_proba(X), same.predict_proba(X), atol=1e-5)
    robust = regressor(criterion=torch.nn.L1Loss).fit(X, y.astype(float))
    assert robust.score(X, y) > 0.5


def test_backbone_may_be_a_module_of_the_user(digits):
    X, y = digits
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU()),
        torch.nn.Sequential(torch.nn.Conv2d(8, 16, 3, stride=2), torch.nn.ReLU()),
        torch.nn.AdaptiveAvgPool2d(1),
    )
    before = {name: value.clone() for name, value in module.state_dict().items()}
    net = FineTunedClassifier(
        module, image_size=32, max_epochs=2, augment="none", random_state=0
    )
    again = clone(net).fit(X, y)
    net.fit(X, y)
    assert net.cut_.trained
    np.testing.assert_array_equal(net.predict_proba(X), again.predict_proba(X))
    restored = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(net.predict_proba(X), restored.predict_proba(X))
    assert all(torch.equal(before[name], v) for name, v in module.state_dict().items())


def test_mixed_precision_answers_in_float32(digits, classifier):
    X, y = digits
    exact = classifier(unfreeze=2).fit(X, y).predict_proba(X)
    net = classifier(unfreeze=2, precision="bfloat16").fit(X, y)
    assert net.predict_proba(X).dtype == np.float32
    assert net.embedding_part_.precision == "bfloat16"
    assert {p.dtype for p in net.module_.parameters()} == {torch.float32}
    np.testing.assert_allclose(net.predict_proba(X), exact, atol=0.1)
    assert not np.array_equal(net.predict_proba(X), exact)


def test_weights_and_groups_are_routed(digits, classifier):
    X, y = digits
    weight, groups = np.linspace(0, 2, len(y)), np.arange(200) // 2
    with config_context(enable_metadata_routing=True):
        net = classifier(early_stopping=True)
        net.set_fit_request(sample_weight=True, groups=True)
        # scikit-learn 1.6 asks the scorer itself, not the net inside the pipeline.
        net.set_score_request(sample_weight=False)
        scorer = get_scorer("accuracy").set_score_request(sample_weight=False)
        routed = cross_validate(
            Pipeline([("net", net)]),
            X,
            y,
            cv=[(np.arange(150), np.arange(150, 200))],
            params={"sample_weight": weight, "groups": groups},
            scoring=scorer,
            return_estimator=True,
        )
    direct = classifier(early_stopping=True)
    direct.fit(X[:150], y[:150], sample_weight=weight[:150], groups=groups[:150])
    plain = classifier(early_stopping=True).fit(X[:150], y[:150])
    found = routed["estimator"][0].predict_proba(X)
    np.testing.assert_array_equal(found, direct.predict_proba(X))
    assert not np.array_equal(found, plain.predict_proba(X))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"unfreeze": 99}, "unfreeze=99 .* it has 4 with parameters"),
        ({"unfreeze": "nothing"}, "unfreeze: 'nothing' matches no stage"),
        ({"n_views": 0}, "'n_views' parameter"),
        ({"lr": -1.0}, "'lr' parameter"),
        ({"max_epochs": -1}, "'max_epochs' parameter"),
        ({"schedule": "linear"}, "'schedule' parameter"),
        ({"augment": "wild"}, "'augment' parameter"),
        ({"augment": {"flop": 1}}, "augment has unknown entries .*'flop'"),
        ({"augment": {"flip": 3}}, "flip=3 has to be a number from 0 to 1"),
        ({"early_stopping": True, "validation_fraction": 0}, "early_stopping=True"),
        ({"early_stopping": True, "callbacks": "disable"}, "callbacks='disable'"),
        ({"head": torch.nn.Linear}, "head_init='probe'"),
        ({"unfreze": 2}, "unknown parameter 'unfreze'. Did you mean 'unfreeze'"),
        ({"optimiser__lr": 2}, "unknown parameter 'optimiser__lr'"),
        ({"module__width": 2}, "unknown parameter 'module__width'"),
        ({"device": "tpu"}, "device='tpu' is unknown"),
        ({"label_smoothing": 0.1, "criterion": torch.nn.NLLLoss}, "label_smoothing"),
        ({"precision": "int8"}, "'precision' parameter"),
    ],
)
def test_bad_settings_are_named_before_anything_is_computed(
    digits, params, match, classifier
):
    X, y = digits
    before = images_embedded()
    with pytest.raises(ValueError, match=match):
        classifier(**params, cache=None).fit(X, y)
    assert images_embedded() == before


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
        (lambda X, y: (X, np.zeros(len(y))), "only one class"),
        (lambda X, y: (X, y + 0.5), "Unknown label type"),
        (lambda X, y: (X, np.where(y > 4, np.nan, y)), "NaN"),
        (lambda X, y: (X, None), "y is None"),
        (lambda X, y: (X, np.stack([y, y], 1)), "multiclass-multioutput"),
        (lambda X, y: (X, y, np.zeros(len(y))), "zero"),
        (lambda X, y: (X, y, -np.ones(len(y))), "[Nn]egative"),
        (lambda X, y: (X, y, np.ones(3)), "inconsistent numbers of samples"),
        (lambda X, y: (X, y, None, np.arange(3)), "inconsistent numbers of samples"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
    ],
)
def test_bad_data_is_named_before_anything_is_computed(
    digits, change, match, classifier
):
    before = images_embedded()
    with pytest.raises(ValueError, match=match):
        classifier(cache=None).fit(*change(*digits))
    assert images_embedded() == before


def test_bad_targets_of_the_regressor(digits, regressor):
    X, y = digits
    with pytest.raises(ValueError, match="NaN"):
        regressor().fit(X, np.where(y > 4, np.nan, y))
    with pytest.raises(ValueError, match="3 targets, but the network was built for 1"):
        regressor().fit(X, y).partial_fit(X, np.stack([y, y, y], 1))


def test_too_few_rows_to_hold_one_out(digits, classifier):
    X, y = digits
    first = [int(np.flatnonzero(y == label)[0]) for label in range(10)]
    with pytest.raises(
        ValueError, match=r"validation_fraction=0.2 .* n_samples=10 leave none"
    ):
        classifier(early_stopping=True).fit(X[first], y[first])
    with pytest.raises(ValueError, match="and a group, to train on"):
        classifier(early_stopping=True).fit(X, y, groups=np.zeros(200))


def test_criterion_without_rows_takes_no_weights(digits, classifier):
    X, y = digits
    net = classifier(criterion=torch.nn.CrossEntropyLoss, criterion__reduction="mean")
    net.fit(X, y)
    with pytest.raises(ValueError, match="one number for the whole batch"):
        net.fit(X, y, sample_weight=np.arange(200))


def test_pickle_holds_only_what_was_trained(stripes):
    X, y = stripes
    params = {"weights": None, "image_size": 48, "augment": "none", "random_state": 0}
    sizes = {}
    for unfreeze in ("head", 1):
        net = FineTunedClassifier(
            "resnet18", unfreeze=unfreeze, max_epochs=1, **params
        ).fit(X, y)
        data = pickle.dumps(net)
        trained = sum(p.numel() for p in net.module_.parameters()) * 4
        sizes[unfreeze] = len(data) - trained
        again = pickle.loads(data)
        np.testing.assert_array_equal(net.predict_proba(X), again.predict_proba(X))
        assert again.backbone_.fingerprint == net.backbone_.fingerprint
    assert sizes["head"] < 10_000
    assert sizes[1] < 100_000


def test_unpickled_net_goes_on_training(digits, classifier):
    X, y = digits
    net = pickle.loads(pickle.dumps(classifier().fit(X, y)))
    net.set_params(lr=1e-4, optimizer__weight_decay=0.0).partial_fit(X, y)
    assert net.optimizer_.param_groups[0]["lr"] == 1e-4
    assert len(net.history) == 4
    assert len(clone(net).fit(X, y).history) == 2


def test_net_of_a_missing_gpu_moves_to_the_cpu(digits, classifier):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    X, y = digits
    net = classifier().fit(X, y)
    expected = net.predict(X)
    net.device = "cuda:0"
    with pytest.warns(DeviceWarning, match="device='cpu'"):
        again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "mode",
    [
        {},
        {"augment": "light"},
        {"augment": "light", "n_views": None},
        {"unfreeze": "all"},
    ],
)
def test_net_of_a_gpu_loads_on_a_cpu(digits, precision, mode, tmp_path, classifier):
    X, y = digits
    net = classifier(precision=precision, **mode).fit(X, y)
    assert next(net.module_.parameters()).is_cuda
    assert net.predict_proba(X).dtype == np.float32
    joblib.dump(net, tmp_path / "net.joblib")
    np.save(tmp_path / "X.npy", X)
    code = (
        "import joblib, numpy, sys; p = sys.argv[1];"
        "net = joblib.load(p + '/net.joblib');"
        "assert not next(net.module_.parameters()).is_cuda;"
        "numpy.save(p + '/out.npy', net.predict_proba(numpy.load(p + '/X.npy')))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    on_cpu = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(net.predict_proba(X), on_cpu, atol=0.05)


class CtrlC(Callback):
    """Interrupt training the way the terminal does, by a signal."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_begin(self, net, training=False, **kwargs):
        if training and len(net.history) == self.epoch:
            signal.raise_signal(signal.SIGINT)


def test_interrupt_leaves_the_best_net_and_goes_on_to_the_caller(digits, classifier):
    X, y = digits
    params = {"early_stopping": True, "refit": False, "lr": 1.0}
    net = classifier(callbacks=[CtrlC(epoch=3)], max_epochs=9, **params)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y)
    assert len(net.history) == 2  # the third epoch was not finished
    assert len(net.epochs_["event_lr"]) == 3
    assert net.best_epoch_ == 0
    probe = classifier(**{**params, "max_epochs": 0}).fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(X), probe.predict_proba(X))
    pickle.loads(pickle.dumps(net)).predict(X)


def test_interrupt_ends_a_search(digits, classifier):
    X, y = digits
    net = classifier(callbacks=[CtrlC(epoch=1)])
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(net, X, y, cv=3)


def test_callback_may_end_training_as_in_skorch(digits, classifier):
    X, y = digits

    class Enough(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    net = classifier(max_epochs=9, callbacks=[Enough()]).fit(X, y)
    assert len(net.history) == 2
    assert net.best_epoch_ == 2


def numpy_state():
    return str(np.random.get_state())  # noqa: NPY002


@pytest.mark.parametrize(
    "params",
    [
        {"augment": "strong", "n_views": 2},
        {"augment": "strong", "unfreeze": "all"},
        {"head_init": "random", "mixup": 0.2, "early_stopping": True},
    ],
)
def test_random_state_decides_everything_and_nothing_else_is_touched(
    digits, params, classifier
):
    X, y = digits
    states = numpy_state(), torch.get_rng_state(), random.getstate()
    one = classifier(**params).fit(X, y).predict_proba(X)
    assert states[0] == numpy_state()
    assert torch.equal(states[1], torch.get_rng_state())
    assert states[2] == random.getstate()
    torch.rand(5)
    np.testing.assert_array_equal(classifier(**params).fit(X, y).predict_proba(X), one)
    other = classifier(**params).set_params(random_state=1)
    assert not np.array_equal(other.fit(X, y).predict_proba(X), one)
    free = [
        classifier(**params).set_params(random_state=None).fit(X, y).predict_proba(X)
        for _ in range(2)
    ]
    assert not np.array_equal(*free)


def strategies(classifier, folder):
    features = PretrainedFeatures("lenet5", cache=folder)
    return [
        {
            "model": [make_pipeline(features, StandardScaler(), SVC())],
            "model__svc__C": [1, 10],
        },
        {
            "model": [classifier(cache=folder)],
            "model__unfreeze": ["head", 1],
            "model__callbacks": [None],
        },
    ]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_one_search_spans_both_strategies(digits, n_jobs, tmp_path, classifier):
    X, y = digits
    names = np.array(list("abcdefghij"))[y]
    folder = str(tmp_path / "store")
    search = GridSearchCV(
        Pipeline([("model", SVC())]),
        strategies(classifier, folder),
        cv=3,
        n_jobs=n_jobs,
    ).fit(X, names)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 4
    assert scores.min() > 0.85
    assert len(set(scores)) > 1
    # The winner of either kind survives a dump and a fresh process.
    tuned = clone(search.estimator).set_params(model=classifier(cache=folder))
    for number, winner in enumerate([search.best_estimator_, tuned.fit(X, names)]):
        file = tmp_path / f"{number}.joblib"
        joblib.dump(winner, file)
        joblib.dump(X, tmp_path / "X.joblib")
        code = (
            "import joblib, json, sys;"
            "net, X = (joblib.load(name) for name in sys.argv[1:]);"
            "print(json.dumps(list(net.predict(X))))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(file), str(tmp_path / "X.joblib")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == list(winner.predict(X))


def test_scores_do_not_depend_on_n_jobs(digits, classifier):
    X, y = digits
    net = classifier(augment="light", n_views=2)
    one = cross_val_score(net, X, y, cv=3, n_jobs=1, scoring="neg_log_loss")
    two = cross_val_score(net, X, y, cv=3, n_jobs=2, scoring="neg_log_loss")
    np.testing.assert_allclose(one, two, rtol=1e-3)


def test_epochs_are_a_table(digits, classifier):
    X, y = digits
    table = classifier(early_stopping=True).fit(X, y).epochs_
    assert list(table["epoch"]) == [0, 1, 2]
    assert {len(column) for column in table.values()} == {3}
    assert np.isnan(table["train_loss"][0])
    assert not np.isnan(table["valid_acc"]).any()


def test_verbose_prints_a_table_and_quiet_prints_nothing(digits, capsys, classifier):
    X, y = digits
    classifier().fit(X, y)
    assert capsys.readouterr().out == ""
    classifier(verbose=1).fit(X, y)
    assert "train_loss" in capsys.readouterr().out
