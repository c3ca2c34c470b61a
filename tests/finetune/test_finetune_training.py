"""The head, the rates, early stopping, and what training leaves behind."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EpochScoring,
    LoadInitState,
    LRScheduler,
)
from skorch.callbacks import EarlyStopping as SkorchEarlyStopping
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split

from sktl import (
    FineTunedClassifier,
    PretrainedFeatures,
    ProbeClassifier,
    ProbeRegressor,
)
from sktl.finetune._training import rate_factor


@pytest.fixture(scope="module")
def digits(digits):
    X, y = digits
    return X / 15.0, y


@pytest.fixture(scope="module")
def classifier(classifier):
    return partial(classifier, max_epochs=3)


@pytest.fixture(scope="module")
def regressor(regressor):
    return partial(regressor, max_epochs=3)


def test_estimators_are_skorch_nets(classifier, regressor):
    assert isinstance(classifier(), NeuralNetClassifier)
    assert isinstance(regressor(), NeuralNetRegressor)
    assert isinstance(classifier(), NeuralNet)


def test_skorch_callbacks_score_and_stop(digits, classifier):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    net = classifier(
        max_epochs=9,
        train_split=ValidSplit(4, stratified=True),
        callbacks=[
            ("f1", EpochScoring("f1_macro", lower_is_better=False)),
            (
                "stop",
                SkorchEarlyStopping(
                    monitor="f1_macro", patience=1, lower_is_better=False
                ),
            ),
        ],
        callbacks__stop__patience=2,
    ).fit(X, names)
    assert 3 <= len(net.history) < 9
    assert net.history[-1]["f1_macro"] > 0.8
    assert {"train_loss", "valid_loss", "valid_acc", "dur"} <= set(net.history[-1])
    assert set(net.predict(X)) <= set(names)


def test_predefined_split_is_watched_and_not_trained_on(digits, classifier):
    X, y = digits
    held_out = Dataset(X[:50], y[:50])
    net = classifier(train_split=predefined_split(held_out), early_stopping=True)
    net.fit(X[50:], y[50:])
    loss = net.epochs_["valid_loss"][net.best_epoch_]
    probabilities = net.predict_proba(X[:50])[np.arange(50), y[:50]]
    assert loss == pytest.approx(-np.log(probabilities).mean(), rel=1e-3)


def test_optimizer_parameters_and_groups_are_skorch_s(digits, classifier):
    X, y = digits
    net = classifier(
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__param_groups=[("head.bias", {"lr": 0.5})],
        schedule="constant",
        warmup=0,
        max_epochs=1,
    ).fit(X, y)
    first = net.optimizer_.param_groups[0]
    assert isinstance(net.optimizer_, torch.optim.SGD)
    assert (first["lr"], first["momentum"], len(first["params"])) == (0.5, 0.9, 1)
    with pytest.raises(ValueError, match="matches no trained parameter"):
        classifier(optimizer__param_groups=[("typo.*", {"lr": 1})]).fit(X, y)


def test_iterator_parameters_reach_the_iterator(digits, classifier):
    X, y = digits
    seen = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=False, **kwargs):
            seen.append(len(batch[1]))

    classifier(iterator_train__batch_size=50, max_epochs=1, callbacks=[Watch()]).fit(
        X, y
    )
    assert seen == [50] * 4


def test_partial_fit_and_warm_start_go_on(digits, classifier):
    X, y = digits
    once = classifier(max_epochs=2, schedule="constant", warmup=0).fit(X, y)
    start = once.module_.head.weight.clone()
    assert len(once.partial_fit(X, y).history) == 4
    assert not torch.equal(start, once.module_.head.weight)
    again = classifier(max_epochs=2, warm_start=True).fit(X, y)
    assert len(again.fit(X, y).history) == 4
    with pytest.raises(ValueError, match=r"not among the classes: \[77\]"):
        again.fit(X, np.where(y == 3, 77, y))


def test_partial_fit_learns_classes_that_come_later(digits, classifier):
    X, y = digits
    early, late = y < 5, y >= 5
    net = classifier(max_epochs=5, schedule="constant")
    net.partial_fit(X[early], y[early], classes=np.arange(10))
    assert net.predict_proba(X).shape == (200, 10)
    for _ in range(3):
        net.partial_fit(X, y)
    assert net.score(X[late], y[late]) > 0.8


def test_parameters_are_saved_and_loaded(digits, tmp_path, classifier):
    X, y = digits
    net = classifier().fit(X, y)
    net.save_params(f_params=tmp_path / "net.pt", f_history=tmp_path / "history.json")
    other = classifier(classes=range(10), value_range=(0, 16)).initialize()
    other.load_params(f_params=tmp_path / "net.pt", f_history=tmp_path / "history.json")
    np.testing.assert_array_equal(net.predict_proba(X), other.predict_proba(X))
    assert len(other.history) == 3
    with pytest.raises(ValueError, match="parameter classes"):
        classifier().initialize()


def test_training_resumes_from_a_checkpoint_of_skorch(digits, tmp_path, classifier):
    X, y = digits
    params = {"early_stopping": True, "validation_fraction": 0.3, "lr": 1e-2}
    params |= {"head_init": "random", "schedule": "constant", "warmup": 0}
    checkpoint = Checkpoint(dirname=tmp_path, monitor=None)
    first = classifier(max_epochs=4, callbacks=[checkpoint], **params).fit(X, y)
    resumed = classifier(
        max_epochs=1, callbacks=[checkpoint, LoadInitState(checkpoint)], **params
    ).fit(X, y)
    assert len(resumed.history) == 5
    assert resumed.best_epoch_ >= 4
    # Epoch 0 is the net before the first step of all.
    np.testing.assert_array_equal(
        resumed.epochs_["valid_loss"][1:5], first.history[:, "valid_loss"]
    )
    assert np.isnan(resumed.epochs_["valid_loss"][0])
    # Not a step further, it is the net that was saved last.
    params |= {"max_epochs": 0, "early_stopping": False}
    same = classifier(callbacks=[LoadInitState(checkpoint)], **params).fit(X, y)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    torch.testing.assert_close(same.module_.state_dict(), saved)


def test_new_rate_of_a_fitted_net_keeps_the_proportions(digits, classifier):
    X, y = digits
    net = classifier(unfreeze=2, lr=1e-3, lr_decay=0.1).fit(X, y)
    net.set_params(lr=1e-2, max_epochs=0).partial_fit(X, y)
    rates = sorted({group["lr"] for group in net.optimizer_.param_groups})
    np.testing.assert_allclose(rates, [1e-4, 1e-3, 1e-2])


@pytest.mark.parametrize("unfreeze", ["head", 1, "all"])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_training_begins_at_the_probe_of_frozen_embeddings(
    digits, n_classes, unfreeze, classifier
):
    X, y = digits[0], digits[1] % n_classes
    probe = make_pipeline(PretrainedFeatures("lenet5"), ProbeClassifier())
    expected = probe.fit(X[:150], y[:150]).predict_proba(X)
    net = classifier(unfreeze=unfreeze, max_epochs=0).fit(X[:150], y[:150])
    np.testing.assert_allclose(net.predict_proba(X), expected, atol=2e-4)


def test_training_for_numbers_begins_at_the_probe(digits, regressor):
    X, y = digits[0], 1000 + 50.0 * digits[1]
    probe = make_pipeline(PretrainedFeatures("lenet5"), ProbeRegressor())
    expected = probe.fit(X, y).predict(X)
    found = regressor(max_epochs=0).fit(X, y).predict(X)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_random_head_starts_elsewhere_and_learns(digits, classifier):
    X, y = digits
    start = classifier(head_init="random", max_epochs=0).fit(X, y).score(X, y)
    end = classifier(head_init="random", max_epochs=20, lr=0.01).fit(X, y).score(X, y)
    assert start < 0.5 < 0.9 < end


def test_head_of_the_user(digits, classifier):
    X, y = digits

    def head(n_features, n_outputs):
        return torch.nn.Sequential(
            torch.nn.Linear(n_features, 32),
            torch.nn.ReLU(),
            torch.nn.Linear(32, n_outputs),
        )

    net = classifier(head=head, head_init="random", max_epochs=20, lr=0.01).fit(X, y)
    assert net.score(X, y) > 0.9
    with pytest.raises(ValueError, match="head_init='random'"):
        classifier(head=head).fit(X, y)


def test_each_depth_has_its_rate_and_norms_do_not_decay(digits, classifier):
    X, y = digits
    net = classifier(
        unfreeze="all",
        lr=1e-3,
        lr_decay=0.5,
        optimizer__weight_decay=0.05,
        max_epochs=1,
    ).fit(X, y)
    groups = {
        id(parameter): group
        for group in net.optimizer_.param_groups
        for parameter in group["params"]
    }
    depth = {"head": 0, "fc6": 1, "stage2": 2, "stage1": 3, "stem": 4}
    for name, parameter in net.module_.named_parameters():
        group = groups[id(parameter)]
        stage = name.split(".")[0 if name.startswith("head") else 1]
        assert group["lr"] == pytest.approx(1e-3 * 0.5 ** depth[stage])
        assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0)


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0.0, [1, 1, 1]),
        ("constant", 0.5, [0.01, 1, 1]),
        ("cosine", 0.0, [1, 0.5, 0.0245]),
        ("cosine", 0.1, [0.01, 0.5868, 0.0302]),
        ("onecycle", 0.5, [0.04, 1, 0.0955]),
    ],
)
def test_schedule(schedule, warmup, expected):
    factors = [rate_factor(schedule, warmup, progress) for progress in (0, 0.5, 0.9)]
    np.testing.assert_allclose(factors, expected, atol=1e-4)


def test_schedule_runs_over_all_steps_and_rates_come_back(digits, classifier):
    X, y = digits
    rates = []

    class Watch(Callback):
        def on_grad_computed(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    net = classifier(
        lr=1e-3, warmup=0, max_epochs=2, batch_size=100, callbacks=[Watch()]
    ).fit(X, y)
    expected = [1e-3 * rate_factor("cosine", 0, step / 4) for step in range(4)]
    np.testing.assert_allclose(rates, expected)
    assert net.optimizer_.param_groups[0]["lr"] == 1e-3
    # The history has the rate of each epoch's last step, as skorch's schedulers do.
    np.testing.assert_allclose(net.history[:, "event_lr"], expected[1::2])
    np.testing.assert_allclose(net.epochs_["event_lr"], [np.nan, *expected[1::2]])


def test_few_steps_get_a_share_of_the_rates(digits, classifier):
    X, y = digits
    rates = []

    class Watch(Callback):
        def on_grad_computed(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    params = {"lr": 1.0, "max_epochs": 4, "batch_size": 100, "callbacks": [Watch()]}
    net = classifier(**params).fit(X, y)
    schedule = [rate_factor("cosine", 0.1, step / 8) for step in range(8)]
    np.testing.assert_allclose(rates, np.multiply(0.08, schedule))
    net.partial_fit(X, y)
    np.testing.assert_allclose(rates[8:], np.multiply(0.16, schedule))
    assert net.optimizer_.param_groups[0]["lr"] == 1.0
    rates.clear()
    classifier(warmup=0, **params).fit(X, y)
    assert rates[0] == 1.0


def test_few_steps_at_the_defaults_do_not_wreck_the_probe():
    # With full rates, eight points are lost here.
    X, y = load_digits(return_X_y=True)
    test = slice(300, 700)
    lost = []
    for first, n in ((0, 20), (100, 20), (0, 40)):
        rows = slice(first, first + n)
        probe, tuned = (
            FineTunedClassifier(
                unfreeze=3,
                image_size=32,
                augment="none",
                max_epochs=max_epochs,
                random_state=first // 100,
            )
            .fit(X[rows], y[rows])
            .score(X[test], y[test])
            for max_epochs in (0, 8)
        )
        lost.append(probe - tuned)
    assert np.mean(lost) < 0.035


def test_rates_are_left_to_a_scheduler_of_the_user(digits, classifier):
    X, y = digits
    scheduler = LRScheduler("StepLR", step_size=1, gamma=0.1)
    net = classifier(schedule="constant", warmup=0, callbacks=[scheduler], lr=1e-2).fit(
        X, y
    )
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(1e-5)
    np.testing.assert_allclose(net.history[:, "event_lr"], [1e-2, 1e-3, 1e-4])


def test_two_masters_of_the_rates_are_an_error(digits, classifier):
    X, y = digits
    for callbacks in ([LRScheduler], [("rates", LRScheduler("StepLR", step_size=1))]):
        with pytest.raises(ValueError, match="LRScheduler among the callbacks"):
            classifier(callbacks=callbacks).fit(X, y)


def test_without_early_stopping_all_rows_are_trained_on(digits, classifier):
    X, y = digits
    net = classifier(max_epochs=1).fit(X, y)
    assert sum(batch["train_batch_size"] for batch in net.history[0]["batches"]) == 200
    assert "valid_loss" not in net.history[0]


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_groups_stay_on_one_side(digits, sides, kind, request):
    X, y = digits
    make = request.getfixturevalue(kind)
    groups = np.arange(200) // 4
    net = make(early_stopping=True, validation_fraction=0.25, max_epochs=1)
    net.fit(X, y, groups=groups)
    train, valid = sides[0]
    assert not set(train.groups) & set(valid.groups)
    assert len(train) + len(valid) == 200
    assert 0.15 < len(valid) / 200 < 0.35
    if kind == "classifier":
        assert set(train.y) == set(range(10))


def test_inner_split_is_stratified(digits, sides, classifier):
    X, y = digits
    y = (y == 0).astype(int)
    classifier(early_stopping=True, max_epochs=1).fit(X, y)
    valid = sides[0][1]
    assert len(valid) == 40
    assert valid.y.mean() == pytest.approx(y.mean(), abs=0.03)
