"""TrainingHistoryDisplay: the curves of skorch's history, epoch 0 included."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback

from sktl import FineTunedClassifier
from sktl.inspection import TrainingHistoryDisplay


@pytest.fixture(scope="module")
def net(stripes):
    """Return a net that watched a validation part for three epochs."""
    X, y = stripes
    return FineTunedClassifier(
        "lenet5",
        unfreeze="head",
        max_epochs=3,
        early_stopping=True,
        validation_fraction=0.25,
        random_state=0,
    ).fit(X, y)


def test_curves_are_those_of_the_history(net):
    display = TrainingHistoryDisplay.from_estimator(net)
    x, y = display.lines_["train_loss"].get_data()
    assert_array_equal(x, [1, 2, 3])
    assert_allclose(y, net.history[:, "train_loss"])
    x, y = display.lines_["valid_loss"].get_data()
    assert_array_equal(x, [0, 1, 2, 3])
    assert_allclose(y, [net.epoch_zero_["valid_loss"], *net.history[:, "valid_loss"]])
    assert display.lines_["valid_acc"].axes is display.axes_["score"]
    assert display.best_epoch == net.best_epoch_
    assert f"epoch {net.best_epoch_} kept" in display.title_.get_text()


def test_learning_rate_is_that_of_the_optimiser(stripes):
    seen = []

    class Rates(Callback):
        def on_grad_computed(self, net, **kwargs):
            seen.append(net.optimizer_.param_groups[0]["lr"])

    X, y = stripes
    net = FineTunedClassifier(
        "lenet5",
        unfreeze="head",
        max_epochs=4,
        batch_size=10,
        callbacks=[Rates],
        random_state=0,
    ).fit(X, y)
    display = TrainingHistoryDisplay.from_estimator(net)
    x, drawn = display.lines_["event_lr"].get_data()
    assert_array_equal(x, [1, 2, 3, 4])
    steps = len(seen) // 4
    assert steps > 1
    assert_allclose(drawn, seen[steps - 1 :: steps])


def test_constant_learning_rate_is_not_drawn(stripes):
    X, y = stripes
    net = FineTunedClassifier(
        "lenet5", unfreeze="head", max_epochs=2, schedule="constant", warmup=0
    ).fit(X, y)
    assert list(TrainingHistoryDisplay.from_estimator(net).axes_) == ["loss"]


def test_pipelines_are_opened_and_others_refused(net):
    piped = make_pipeline(FunctionTransformer(), net)
    assert TrainingHistoryDisplay.from_estimator(piped).best_epoch == net.best_epoch_
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ValueError, match="LogisticRegression keeps no history"):
        TrainingHistoryDisplay.from_estimator(model)


def test_history_of_any_skorch_net():
    history = [
        {"epoch": 1, "batches": [], "dur": 1.0, "train_loss": 2.0, "event_lr": 0.1},
        {"epoch": 2, "batches": [], "dur": 1.0, "train_loss": 1.0, "event_lr": 0.01},
    ]
    display = TrainingHistoryDisplay.from_history(history)
    assert list(display.axes_) == ["loss", "lr"]
    assert_array_equal(display.lines_["event_lr"].get_ydata(), [0.1, 0.01])
    with pytest.raises(ValueError, match="no epoch"):
        TrainingHistoryDisplay.from_history([])


def test_only_what_can_be_drawn_is():
    display = TrainingHistoryDisplay(
        {"epoch": np.arange(3), "train_loss": np.ones(3), "f1": np.full(3, np.nan)}
    ).plot()
    assert list(display.lines_) == ["train_loss"]
