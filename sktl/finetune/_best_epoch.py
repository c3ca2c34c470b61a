"""Stop when validation no longer improves, and keep the best epoch, 0 included."""

from __future__ import annotations

from skorch.callbacks import Callback
from torch import Tensor


class StopTraining(Exception):  # noqa: N818
    """A callback has asked for the end of training."""


class BestEpoch(Callback):
    """Watch the inner validation and remember the best state of the network.

    Parameters
    ----------
    patience : int or None
        Epochs without improvement after which training stops; None never stops.
    """

    def __init__(self, patience: int | None):
        self.patience = patience

    def begin(self, net, score: tuple[float, ...]) -> None:
        """Note the state and the score before the first step: epoch 0."""
        self.best_epoch_ = self._offset(net)
        self.best_score_ = score
        self._state = _copy_of(net.module_.state_dict())

    def on_epoch_end(self, net, **kwargs) -> None:
        """Compare the epoch with the best so far."""
        score = net.validation_score(net.history[-1])
        epoch = self._offset(net)
        if score > self.best_score_:
            self.best_epoch_, self.best_score_ = epoch, score
            self._state = _copy_of(net.module_.state_dict())
        elif self.patience is not None and epoch - self.best_epoch_ >= self.patience:
            raise StopTraining

    def restore(self, net) -> None:
        """Give the network the state of the best epoch, and let go of the copy."""
        net.module_.load_state_dict(self._state)
        del self._state

    def _offset(self, net) -> int:
        return len(net.history)


def stopped_by(callback: Callback, interrupt: KeyboardInterrupt) -> bool:
    """Tell whether a callback raised the interrupt, and not the user's Ctrl-C.

    skorch's way to end training from a callback is to raise KeyboardInterrupt. It is
    told apart by where it was raised: in a method of the callback itself.
    """
    place = interrupt.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_locals.get("self") is callback


def _copy_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}
