"""Training that goes on, is resumed, failed, or was interrupted before it began."""

import io
import pickle
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, Checkpoint, EpochScoring, LoadInitState
from skorch.exceptions import NotInitializedError

from sktl import FineTunedClassifier
from sktl.exceptions import CacheWarning, UnreadableImageError
from sktl.persistence import load_model, save_model


@pytest.fixture(scope="module")
def digits(digits):
    X, y = digits
    return X[:150], y[:150]


def encoded(images):
    """Return images as the contents of PNG files."""
    contents = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        contents.append(file.getvalue())
    return contents


def watched(sides):
    """Return the images held out by each inner split."""
    return [
        {valid.images.fingerprint(i) for i in range(len(valid))} for _, valid in sides
    ]


def rates(net):
    """Return the rate of each trained parameter, by name."""
    names = {id(p): name for name, p in net.module_.named_parameters()}
    return {
        names[id(p)]: group["lr"]
        for group in net.optimizer_.param_groups
        for p in group["params"]
    }


def test_a_fit_that_failed_leaves_nothing_that_predicts(digits, classifier):
    X, y = digits
    net = classifier()
    with pytest.raises(UnreadableImageError, match="row 149"):
        net.partial_fit([*encoded(X[:-1]), b"broken"], y)
    with pytest.raises(NotFittedError):
        net.predict(X)
    with pytest.raises(NotInitializedError):
        net.save_params(f_params="nowhere.pt")
    # The next call begins with the probe, like a fresh net.
    fresh = classifier().fit(X, y)
    np.testing.assert_array_equal(
        net.partial_fit(X, y).predict_proba(X), fresh.predict_proba(X)
    )


def test_all_unreadable_images_are_named(digits, classifier):
    X, y = digits
    with pytest.raises(UnreadableImageError, match=r"2 of 150.*row 149.*row 0 "):
        classifier().fit([b"broken", *encoded(X[1:-1]), b"too"], y)


@pytest.mark.parametrize(
    ("labels", "params"),
    [
        (["cat"] * 150, {}),
        (["cat", "dog"] * 70, {}),
        (["cat", "dog"] * 75, {"class_weight": {"cat": -1}}),
    ],
)
def test_a_refit_that_fails_does_not_answer_with_other_labels(
    digits, labels, params, classifier
):
    X, y = digits
    net = classifier().fit(X, y)
    with pytest.raises(ValueError, match=r"class|inconsistent"):
        net.set_params(**params).fit(X, np.array(labels))
    with pytest.raises(NotFittedError):
        net.predict(X)


def test_a_refit_is_checked_like_a_first_fit(digits, classifier):
    X, y = digits
    net = classifier().fit(X, y)
    with pytest.raises(ValueError, match="only one class has a weight above zero: 0"):
        net.fit(X, y, sample_weight=y == 0)


def test_initialising_a_fitted_net_begins_anew(digits, classifier):
    X, y = digits
    net = classifier(classes=range(10)).fit(X, y)
    fresh = net.predict_proba(X)
    net.initialize().partial_fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(X), fresh)


def test_what_is_merely_initialised_may_change(digits, classifier):
    X, y = digits
    net = classifier(classes=range(10), unfreeze=2).initialize()
    net.set_params(unfreeze=1, backbone="pocket").partial_fit(X, y)
    assert net.backbone_.name == "pocket"
    assert len(net.cut_.trained) == 1


def test_initialised_net_learns_several_labels(digits, classifier):
    X, y = digits
    Y = np.stack([y % 2, y % 3 == 0, y > 4], axis=1).astype(int)
    net = classifier(classes=range(3)).initialize().partial_fit(X, Y)
    assert isinstance(net.criterion_, torch.nn.BCEWithLogitsLoss)
    np.testing.assert_array_equal(
        net.predict_proba(X), classifier().fit(X, Y).predict_proba(X)
    )


def test_partial_fit_of_an_initialised_net_begins_with_the_probe(digits, classifier):
    X, y = digits
    net = classifier(classes=range(10)).initialize().partial_fit(X / 255.0, y)
    reference = classifier(classes=range(10)).fit(X / 255.0, y)
    np.testing.assert_allclose(
        net.predict_proba(X / 255.0), reference.predict_proba(X / 255.0), atol=1e-6
    )


def test_partial_fit_of_an_initialised_regressor_learns_the_scale(digits, regressor):
    X, y = digits
    target = 1e4 + 300.0 * y
    net = regressor().initialize().partial_fit(X, target)
    np.testing.assert_allclose(
        net.predict(X), regressor().fit(X, target).predict(X), rtol=1e-5
    )
    two = np.stack([target, -target], axis=1)
    assert regressor().initialize().partial_fit(X, two).predict(X).shape == (150, 2)


def test_unfreeze_can_grow_while_training_goes_on(digits, classifier):
    X, y = digits
    net = classifier(unfreeze="head").fit(X, y)
    head = net.module_.head.weight.clone()
    net.set_params(unfreeze=2, max_epochs=0).partial_fit(X, y)
    assert net.cut_.trained == ("stage2", "fc6")
    assert torch.equal(net.module_.head.weight, head)
    before = net.predict_proba(X)
    np.testing.assert_allclose(
        before, pickle.loads(pickle.dumps(net)).predict_proba(X), atol=1e-6
    )
    net.set_params(max_epochs=2).partial_fit(X, y)
    fresh = classifier(unfreeze=2, max_epochs=0).fit(X, y)
    moved = [
        name
        for name, value in net.module_.stages.named_parameters()
        if not torch.equal(value, fresh.module_.stages.get_parameter(name))
    ]
    assert {name.split(".")[0] for name in moved} == {"stage2", "fc6"}
    with pytest.raises(ValueError, match="can only grow"):
        net.set_params(unfreeze=1).partial_fit(X, y)
    assert net.cut_.trained == ("stage2", "fc6")
    net.predict(X)


def test_opened_stages_keep_what_upper_ones_have_learned(digits, classifier):
    X, y = digits
    net = classifier(unfreeze=1).fit(X, y)
    before = net.predict_proba(X)
    net.set_params(unfreeze="all", max_epochs=0, warm_start=True).fit(X, y)
    np.testing.assert_allclose(net.predict_proba(X), before, atol=1e-6)


@pytest.mark.parametrize(
    "params", [{"backbone": "pocket"}, {"weights": None}, {"head": torch.nn.Linear}]
)
def test_another_network_needs_a_new_fit(digits, params, classifier):
    X, y = digits
    net = classifier(warm_start=True).fit(X, y)
    net.set_params(**params, head_init="random")
    with pytest.raises(ValueError, match=next(iter(params))):
        net.fit(X, y)
    net.set_params(warm_start=False).fit(X, y)


def test_early_stopping_can_be_turned_on_and_off(digits, classifier):
    X, y = digits
    net = classifier(warm_start=True, lr=1.0, max_epochs=1).fit(X, y)
    net.set_params(early_stopping=True, max_epochs=6, n_iter_no_change=1).fit(X, y)
    assert net.best_epoch_ < len(net.history) < 7
    net.set_params(early_stopping=False, max_epochs=1)
    n = len(net.fit(X, y).history)
    assert net.best_epoch_ == n


def test_optimizer_and_decay_follow(digits, classifier):
    X, y = digits
    net = classifier(warm_start=True).fit(X, y)
    net.set_params(optimizer=torch.optim.SGD, lr_decay=0.5).fit(X, y)
    assert type(net.optimizer_) is torch.optim.SGD
    found = rates(net)
    assert found["stages.fc6.2.weight"] == pytest.approx(0.5 * found["head.weight"])


def test_loss_follows(digits, classifier):
    X, y = digits
    net = classifier(warm_start=True).fit(X, y)
    net.set_params(label_smoothing=0.3).fit(X, y)
    assert net.criterion_.label_smoothing == 0.3


def test_second_call_holds_out_the_same_rows(digits, sides, classifier):
    X, y = digits
    net = classifier(early_stopping=True, random_state=None, max_epochs=1).fit(X, y)
    net.partial_fit(X, y)
    first, second = watched(sides)
    assert first == second


def test_epoch_zero_is_before_the_first_step_of_all(digits, classifier):
    X, y = digits
    net = classifier(early_stopping=True, head_init="random", lr=0.01).fit(X, y)
    zero = net.epochs_["valid_loss"][0]
    assert net.partial_fit(X, y).epochs_["valid_loss"][0] == zero


def test_weights_bring_what_predictions_need(digits, tmp_path, classifier):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    net = classifier().fit(X / 255.0, names)
    net.save_params(f_params=tmp_path / "net.pt", f_optimizer=tmp_path / "opt.pt")
    other = classifier(classes=range(10)).initialize()
    other.load_params(tmp_path / "net.pt", tmp_path / "opt.pt")
    assert other.predict(X / 255.0).tolist() == net.predict(X / 255.0).tolist()
    assert other.value_range_ == net.value_range_
    # It goes on from there, and does not solve the head again.
    other.set_params(max_epochs=0).partial_fit(X / 255.0, names)
    np.testing.assert_array_equal(
        other.predict_proba(X / 255.0), net.predict_proba(X / 255.0)
    )
    with pytest.raises(ValueError, match="digit 0"):
        classifier().fit(X, y).load_params(tmp_path / "net.pt")


def test_weights_of_several_labels_are_not_taken_for_one(digits, tmp_path, classifier):
    X, y = digits
    Y = np.stack([y % 2, y % 3 == 0, y > 4], axis=1).astype(int)
    net = classifier().fit(X, Y)
    net.save_params(f_params=tmp_path / "net.pt")
    other = classifier(classes=range(3)).initialize()
    other.load_params(f_params=tmp_path / "net.pt")
    np.testing.assert_array_equal(other.predict(X), net.predict(X))


def test_weights_for_other_outputs_say_so(digits, tmp_path, regressor):
    X, y = digits
    regressor().fit(X, np.stack([y, -y], axis=1)).save_params(tmp_path / "net.pt")
    with pytest.raises(RuntimeError, match="size mismatch for head"):
        regressor().initialize().load_params(tmp_path / "net.pt")


def test_optimizer_is_there_after_unpickling(digits, tmp_path, classifier):
    X, y = digits
    net = pickle.loads(pickle.dumps(classifier().fit(X, y)))
    net.save_params(f_optimizer=tmp_path / "opt.pt")
    net.load_params(f_optimizer=tmp_path / "opt.pt")


def test_pickle_does_not_grow_with_the_batches(digits, classifier):
    X, y = digits
    short = classifier(unfreeze="head", batch_size=4, max_epochs=1).fit(X, y)
    long = classifier(unfreeze="head", batch_size=4, max_epochs=20).fit(X, y)
    assert len(pickle.dumps(long)) < len(pickle.dumps(short)) + 10_000


def test_training_goes_on_at_full_rates_after_a_checkpoint(
    digits, tmp_path, classifier
):
    X, y = digits
    checkpoint = Checkpoint(dirname=tmp_path, monitor=None)
    net = classifier(max_epochs=4, callbacks=[checkpoint]).fit(X, y)
    full = rates(net)
    # The checkpoint was written near the end of the schedule.
    saved = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    assert saved["param_groups"][0]["lr"] < 0.1 * full["head.weight"]
    other = classifier(classes=range(10)).initialize()
    other.load_params(checkpoint=checkpoint)
    assert rates(other.partial_fit(X, y)) == full


def test_a_schedule_resumes_from_a_checkpoint_without_one(digits, tmp_path, classifier):
    X, y = digits
    checkpoint = Checkpoint(dirname=tmp_path, monitor=None)
    classifier(schedule="constant", warmup=0, callbacks=[checkpoint]).fit(X, y)
    resumed = classifier(callbacks=[LoadInitState(checkpoint)]).fit(X, y)
    assert len(resumed.history) == 4


class Stop(Callback):
    """Do something at a certain moment of training."""

    def __init__(self, moment, act):
        self.moment = moment
        self.act = act

    def _maybe(self, moment):
        if moment == self.moment:
            self.act()

    def on_train_begin(self, net, **kwargs):
        self._maybe("train")

    def on_epoch_end(self, net, **kwargs):
        self._maybe("epoch")

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == 2:
            self._maybe("batch")


def raise_interrupt():
    raise KeyboardInterrupt


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("moment", ["train", "epoch", "batch"])
def test_callbacks_may_stop_training_from_a_function(digits, moment, classifier):
    X, y = digits
    net = classifier(callbacks=[Stop(moment, raise_interrupt)], max_epochs=4).fit(X, y)
    assert len(net.history) == {"train": 0, "epoch": 1, "batch": 1}[moment]
    assert len(net.epochs_["epoch"]) == len(net.history) + 1
    assert net.best_epoch_ == len(net.history)
    net.predict(X)


@pytest.mark.parametrize("moment", ["train", "epoch", "batch"])
def test_ctrl_c_within_a_callback_is_no_stop(digits, moment, classifier):
    X, y = digits
    net = classifier(callbacks=[Stop(moment, press_ctrl_c)], max_epochs=4)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y)
    net.predict(X)


@pytest.mark.parametrize("how", ["weights", "model file"])
def test_loaded_nets_hold_out_the_same_rows(digits, tmp_path, sides, how, classifier):
    X, y = digits
    params = {"early_stopping": True, "max_epochs": 1}
    net = classifier(**params, random_state=None).fit(X, y)
    if how == "weights":
        net.save_params(f_params=tmp_path / "net.pt")
        other = classifier(**params, classes=range(10)).initialize()
        other.load_params(f_params=tmp_path / "net.pt")
    else:
        save_model(net, tmp_path / "net.sktl")
        other = load_model(tmp_path / "net.sktl")
    np.testing.assert_array_equal(other.predict_proba(X), net.predict_proba(X))
    other.partial_fit(X, y)
    first, second = watched(sides)
    assert first == second


def test_loading_keeps_the_cut(digits, tmp_path, classifier):
    X, y = digits
    net = classifier().fit(X, y)
    net.save_params(f_params=tmp_path / "net.pt")
    before = net.predict_proba(X)
    net.set_params(unfreeze="head").load_params(f_params=tmp_path / "net.pt")
    np.testing.assert_array_equal(net.predict_proba(X), before)
    with pytest.raises(ValueError, match="can only grow"):
        net.partial_fit(X, y)


def test_weights_that_are_refused_change_nothing(digits, tmp_path, classifier):
    X, y = digits
    classifier().fit(X, y).save_params(f_params=tmp_path / "net.pt")
    net = classifier(unfreeze=1).fit(X[::-1], np.array(list("abcdefghij"))[y])
    before = net.predict_proba(X)
    with pytest.raises(ValueError, match="trained on the labels"):
        net.load_params(f_params=tmp_path / "net.pt")
    np.testing.assert_array_equal(net.predict_proba(X), before)
    assert net.module_.facts["classes"] == list("abcdefghij")


def test_several_labels_are_not_classes(digits, tmp_path, classifier):
    X, y = digits
    classifier().fit(X, y).save_params(f_params=tmp_path / "net.pt")
    net = classifier().fit(X, np.eye(10, dtype=int)[y])
    with pytest.raises(ValueError, match="several for an image"):
        net.load_params(f_params=tmp_path / "net.pt")


def test_dates_are_labels(digits, tmp_path, classifier):
    X, y = digits
    days = np.datetime64("2026-01-01") + y.astype("m8[D]")
    net = classifier(early_stopping=True).fit(X, days)
    net.save_params(f_params=tmp_path / "net.pt")
    other = classifier(classes=range(10)).initialize()
    other.load_params(f_params=tmp_path / "net.pt")
    np.testing.assert_array_equal(other.predict(X), net.predict(X))


def test_new_rates_outlive_loading_and_stops(digits, tmp_path, classifier):
    X, y = digits
    net = classifier().fit(X, y)
    net.save_params(f_params=tmp_path / "net.pt")
    net.set_params(lr=0.05).load_params(f_params=tmp_path / "net.pt")
    net.set_params(max_epochs=0).partial_fit(X, y)
    assert rates(net)["head.weight"] == 0.05


def test_weights_that_were_never_trained_begin_with_the_probe(
    digits, tmp_path, classifier
):
    X, y = digits
    untrained = classifier(classes=range(10)).initialize()
    untrained.save_params(f_params=tmp_path / "net.pt")
    net = classifier(classes=range(10)).initialize()
    net.load_params(f_params=tmp_path / "net.pt")
    np.testing.assert_array_equal(
        net.partial_fit(X, y).predict_proba(X), classifier().fit(X, y).predict_proba(X)
    )


@pytest.mark.parametrize("copied", [False, True])
def test_parameters_act_on_a_fitted_net_and_on_its_copy(digits, copied, classifier):
    X, y = digits
    net = classifier().fit(X, y)
    net = pickle.loads(pickle.dumps(net)) if copied else net
    net.set_params(optimizer__lr=0.01, criterion__label_smoothing=0.3)
    net.set_params(max_epochs=1).partial_fit(X, y)
    assert net.criterion_.label_smoothing == 0.3
    found = rates(net)
    assert found["head.weight"] == 0.01
    assert found["stages.fc6.2.weight"] == pytest.approx(0.003)


def test_callbacks_see_the_epoch_that_ends_training(digits, classifier):
    X, y = digits
    scores = EpochScoring("accuracy", name="score", lower_is_better=False)
    net = classifier(
        early_stopping=True,
        n_iter_no_change=1,
        lr=30.0,  # every epoch is far worse than the probe
        max_epochs=9,
        callbacks=[scores],
    ).fit(X, y)
    assert (net.best_epoch_, len(net.history)) == (0, 2)
    assert np.isfinite(net.epochs_["score"][1:]).all()


def test_columns_may_come_and_go(digits, classifier):
    X, y = digits
    net = classifier(early_stopping=True, warm_start=True).fit(X, y)
    epochs = net.set_params(early_stopping=False).fit(X, y).epochs_
    assert np.isfinite(epochs["valid_loss"]).tolist() == [True] * 3 + [False] * 2
    assert len(epochs["train_loss"]) == 5


def test_subclasses_may_pass_parameters_on(digits):
    X, y = digits

    class Digits(FineTunedClassifier):
        def __init__(self, backbone="lenet5", **kwargs):
            super().__init__(backbone, **kwargs)

    net = clone(Digits(max_epochs=1, augment="none", unfreeze="head")).fit(X, y)
    assert net.set_params(unfreeze=1).partial_fit(X, y).cut_.trained == ("fc6",)


def test_failure_while_stages_open_keeps_what_predictions_need(digits, classifier):
    X, y = digits
    net = classifier(unfreeze="head").fit(X, y)
    facts = dict(net.module_.facts)
    net.set_params(unfreeze=2, early_stopping=True)
    with pytest.raises(ValueError, match="early_stopping=True"):
        net.partial_fit(X[:1], y[:1])
    assert net.module_.facts == facts


def test_failed_first_fit_leaves_no_fitted_attributes(digits, classifier):
    X, y = digits
    net = classifier(early_stopping=True)
    with pytest.raises(ValueError, match="early_stopping=True"):
        net.fit(X[:2], y[:2])
    assert not [name for name in vars(net) if name.endswith("_")]


def test_copy_made_while_training_holds_no_optimizer(digits, classifier):
    X, y = digits
    copies = []

    class Keep(Callback):
        def on_epoch_end(self, net, **kwargs):
            copies.append(set(net.__getstate__()))

    classifier(callbacks=[Keep], max_epochs=1).fit(X, y)
    assert not {"optimizer_", "_training"} & copies[0]


def test_another_rate_keeps_what_the_optimizer_has_learned(digits, classifier):
    X, y = digits
    net = classifier(lr=1e-3).fit(X, y)
    optimizer = net.optimizer_
    net.set_params(lr=2e-3).partial_fit(X, y)
    assert net.optimizer_ is optimizer
    assert rates(net)["head.weight"] == 2e-3
    assert rates(net)["stages.fc6.2.weight"] == pytest.approx(6e-4)
    net.set_params(optimizer__weight_decay=0.0).partial_fit(X, y)
    assert net.optimizer_ is not optimizer


def test_interrupt_from_a_handler_of_the_user_reaches_the_caller(
    digits, classifier, monkeypatch
):
    X, y = digits

    def interrupted(net, batch, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(FineTunedClassifier, "train_step_single", interrupted)
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(X, y)


def test_copies_survive_parameters_that_do_not_fit_yet(digits, classifier):
    X, y = digits
    net = classifier(unfreeze="head").fit(X, y)
    net.set_params(unfreeze=1, optimizer__param_groups=[("stages.*", {"lr": 1e-5})])
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert rates(again.partial_fit(X, y))["stages.fc6.2.weight"] == 1e-5


def test_one_view_is_the_image_itself_even_if_nothing_is_kept(digits, classifier):
    X, y = digits
    with pytest.warns(CacheWarning, match="max_bytes"):
        live = classifier(augment="strong", n_views=1, max_bytes=100).fit(X, y)
    plain = classifier(augment="none").fit(X, y)
    np.testing.assert_allclose(live.predict_proba(X), plain.predict_proba(X), atol=1e-4)
