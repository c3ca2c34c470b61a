"""Early stopping: the epoch it keeps, when it ends, and that all rows count."""

import copy
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    Freezer,
    LRScheduler,
)
from skorch.dataset import ValidSplit

from sktl import FineTunedClassifier
from sktl.engine import images_embedded
from sktl.exceptions import CacheWarning
from sktl.finetune._callbacks import BestEpoch

RUINOUS = {"early_stopping": True, "validation_fraction": 0.3, "lr": 30.0}
LEARNING = {
    "early_stopping": True,
    "validation_fraction": 0.3,
    "head_init": "random",
    "unfreeze": 2,
    "lr": 3e-3,
    "max_epochs": 6,
}


def kept(losses, patience, n_rising=0):
    """Return the epoch that is kept, and the one after which training ends."""
    net = SimpleNamespace(
        history=[], n_iter_no_change=patience, module_=torch.nn.Linear(1, 1)
    )
    best = BestEpoch()
    best.begin(net, losses[0], n_rising)
    for loss in losses[1:]:
        net.history.append({"valid_loss": loss})
        best.on_epoch_end(net)
        if best.is_over:
            break
    return best.best_epoch_, len(net.history)


def test_patience_begins_when_rates_are_full():
    losses = [1.0, 1.1, 1.2, 1.3, 1.4, 0.9, 1.0, 1.0, 1.0, 1.0]
    assert kept(losses, patience=3) == (0, 3)
    assert kept(losses, patience=3, n_rising=2) == (5, 8)
    assert kept(losses, patience=None) == (5, 9)


@pytest.mark.parametrize(
    ("params", "n_epochs"),
    [
        ({"warmup": 0.1}, 3),
        ({"warmup": 0.45}, 7),
        ({"warmup": 0}, 2),
        ({"warmup": 0, "gradual": True, "unfreeze": 3}, 5),
    ],
)
def test_epochs_before_full_rates_do_not_count(digits, params, n_epochs, classifier):
    X, y = digits
    net = classifier(**RUINOUS, **params, max_epochs=10, n_iter_no_change=2).fit(X, y)
    assert net.best_epoch_ == 0
    assert len(net.history) == n_epochs


def test_lowest_loss_is_kept(digits, classifier):
    X, y = digits
    net = classifier(**LEARNING).fit(X, y)
    assert net.best_epoch_ == np.argmin(net.epochs_["valid_loss"]) > 0


def test_measures_are_those_of_the_average_weights(digits, sides, classifier):
    X, y = digits
    net = classifier(**LEARNING, refit=False).fit(X, y)
    held = sides[0][1]
    images = np.stack([held.images[i] for i in range(len(held))])
    likely = net.predict_proba(images)[np.arange(len(held)), held.y]
    lowest = net.epochs_["valid_loss"].min()
    assert lowest == pytest.approx(-np.log(likely).mean(), rel=1e-4)


def test_probe_of_all_rows_remains_if_no_epoch_is_better(digits, classifier):
    X, y = digits
    net, probe = classifier(**RUINOUS).fit(X, y), classifier(max_epochs=0).fit(X, y)
    assert net.best_epoch_ == 0
    np.testing.assert_array_equal(net.predict_proba(X), probe.predict_proba(X))
    part = classifier(**RUINOUS, refit=False).fit(X, y)
    assert np.abs(part.predict_proba(X) - probe.predict_proba(X)).max() > 1e-3


def test_regressor_ends_with_all_rows_too(digits, regressor):
    X, y = digits
    net, probe = regressor(**RUINOUS).fit(X, y), regressor(max_epochs=0).fit(X, y)
    assert net.best_epoch_ == 0
    np.testing.assert_allclose(net.predict(X), probe.predict(X), rtol=1e-3, atol=1e-3)


class Averaged(Callback):
    """Average the weights over 0.4 of 6 epochs of 7 batches, in plain torch."""

    def on_batch_end(self, net, training=False, **kwargs):
        now = {
            k: v for k, v in net.module_.state_dict().items() if v.is_floating_point()
        }
        self.average = {
            name: self.average[name]
            + (now[name] - self.average[name]) / (1 + 0.4 * 6 * 7)
            for name in now
        }

    def on_train_begin(self, net, **kwargs):
        self.average = copy.deepcopy(net.module_.state_dict())


class Enough(Callback):
    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.n_epochs:
            raise KeyboardInterrupt


@pytest.mark.parametrize("params", [{}, {"gradual": True}, {"mixup": 0.3}])
def test_refit_trains_on_all_rows_up_to_the_best_epoch(digits, params, classifier):
    X, y = digits
    net = classifier(**LEARNING, **params).fit(X, y)
    averaged, enough = Averaged(), Enough(net.best_epoch_)
    # 200 rows make 7 batches; the rates are those of all six epochs.
    plain = {**LEARNING, **params, "early_stopping": False}
    classifier(**plain, callbacks=[averaged, enough]).fit(X, y)
    for name, weights in averaged.average.items():
        found = net.module_.state_dict()[name]
        torch.testing.assert_close(found, weights, rtol=1e-3, atol=1e-5, msg=name)


def test_history_and_callbacks_are_those_of_the_watched_run(digits, classifier):
    X, y = digits

    class Count(Callback):
        n_epochs = n_ends = 0

        def on_epoch_end(self, net, **kwargs):
            self.n_epochs += 1

        def on_train_end(self, net, **kwargs):
            self.n_ends += 1
            self.last = copy.deepcopy(net.module_.state_dict())

    count = Count()
    net = classifier(**LEARNING, callbacks=[count]).fit(X, y)
    watched = classifier(**LEARNING, refit=False).fit(X, y)
    count = dict(net.callbacks_)["Count"]
    assert (count.n_epochs, count.n_ends) == (len(net.history), 1)
    torch.testing.assert_close(count.last, net.module_.state_dict())
    for name in ("valid_loss", "valid_acc", "train_loss"):
        np.testing.assert_array_equal(net.epochs_[name], watched.epochs_[name])
    assert net.best_epoch_ == watched.best_epoch_
    assert np.abs(net.predict_proba(X) - watched.predict_proba(X)).max() > 1e-3


def test_rows_held_out_by_the_user_stay_held_out(digits, classifier):
    X, y = digits

    def split(data, y, **kwargs):
        rows = np.arange(len(data))
        return (
            torch.utils.data.Subset(data, rows[:150]),
            torch.utils.data.Subset(data, rows[150:]),
        )

    one = classifier(**LEARNING, train_split=split).fit(X, y)
    two = classifier(**LEARNING, train_split=split, refit=False).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_continued_training_that_does_not_help_changes_nothing(digits, classifier):
    X, y = digits
    net = classifier(max_epochs=1).fit(X, y)
    before = net.predict_proba(X)
    net.set_params(**RUINOUS, max_epochs=3).partial_fit(X, y)
    assert net.best_epoch_ == 1
    np.testing.assert_array_equal(net.predict_proba(X), before)


class CtrlCInRefit(Callback):
    def on_grad_computed(self, net, named_parameters, **kwargs):
        if net._training.is_refit:
            signal.raise_signal(signal.SIGINT)


def test_interrupted_refit_leaves_the_best_watched_epoch(digits, classifier):
    X, y = digits
    watched = classifier(**LEARNING, refit=False).fit(X, y)
    net = classifier(**LEARNING, callbacks=[CtrlCInRefit()])
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(X), watched.predict_proba(X))
    assert len(net.history) == len(watched.history)


def test_refit_cannot_follow_a_scheduler_of_skorch(digits, classifier):
    X, y = digits
    params = {**LEARNING, "schedule": "constant", "warmup": 0}
    net = classifier(**params, callbacks=[LRScheduler("StepLR", step_size=1)])
    with pytest.raises(ValueError, match="Pass refit=False"):
        net.fit(X, y)
    net.set_params(refit=False).fit(X, y)
    # What the user holds out stays held out: there is no refit.
    net.set_params(refit=True, train_split=ValidSplit(5)).fit(X, y)


@pytest.mark.parametrize("kind", [Checkpoint, EarlyStopping])
def test_callbacks_may_not_undo_the_refit(digits, kind, tmp_path, classifier):
    X, y = digits
    more = {"dirname": tmp_path} if kind is Checkpoint else {}
    net = classifier(**LEARNING, callbacks=[kind(load_best=True, **more)])
    with pytest.raises(ValueError, match=f"{kind.__name__}.*Pass refit=False, or load"):
        net.fit(X, y)
    net.set_params(refit=False, max_epochs=1).fit(X, y)
    net.set_params(refit=True, callbacks=[kind(**more)]).fit(X, y)


def test_what_a_freezer_froze_stays_frozen(digits, classifier):
    X, y = digits
    net = classifier(**LEARNING, callbacks=[Freezer("stages.*")]).fit(X, y)
    assert net.best_epoch_ > 0
    for _ in range(2):
        for name, stage in net.module_.stages.items():
            start = net.backbone_.load().stages[name].state_dict()
            torch.testing.assert_close(stage.state_dict(), start)
        net.partial_fit(X, y)


def test_refit_draws_views_as_often_as_the_watched_run(digits, classifier):
    X, y = digits
    net = classifier(**LEARNING, augment={"shift": 0.1}, n_views=2).fit(X, y)
    row_bytes = net.get_dataset(X)[0][0].nbytes
    # The watched run needs 2 x 140 + 60 rows, the refit 2 x 200.
    net.set_params(max_bytes=370 * row_bytes)
    with pytest.warns(CacheWarning, match="max_bytes") as caught:
        between = net.fit(X, y).predict_proba(X)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(CacheWarning):
        neither = net.set_params(max_bytes=0).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(between, neither)
    watched = net.set_params(max_bytes=370 * row_bytes, refit=False)
    watched.fit(X, y)  # without a warning


def test_views_are_computed_only_to_be_trained_on(stripes, tmp_path):
    X, y = stripes
    net = FineTunedClassifier(
        "squeezenet1_1",
        weights=None,
        image_size=48,
        n_views=3,
        random_state=0,
        cache=tmp_path,
    )

    def embedded_by_fit(**params):
        before = images_embedded()
        net.set_params(**params).fit(X, y)
        return images_embedded() - before

    n = len(X)
    assert embedded_by_fit(max_epochs=0) == n
    # Those of the training rows; nothing was trained on the held-out ones.
    params = {**RUINOUS, "validation_fraction": 0.25, "max_epochs": 2}
    assert embedded_by_fit(**params) == 2 * (n - n // 4)
    assert net.best_epoch_ == 0
