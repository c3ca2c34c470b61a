"""Stop when validation no longer improves, and keep the best epoch, 0 included."""

from __future__ import annotations

import copy
import dis

from skorch.callbacks import Callback
from torch import Tensor


class StopTraining(Exception):  # noqa: N818
    """A callback has asked for the end of training."""


class BestEpoch(Callback):
    """Watch the inner validation and remember the best state of the network.

    It does so from ``begin`` to ``restore``, and is idle otherwise.
    """

    _state: dict[str, Tensor] | None = None

    def begin(self, net, score: tuple[float, ...]) -> None:
        """Note the state and the score before the first step: epoch 0."""
        self.best_epoch_ = len(net.history)
        self.best_score_ = score
        self._state = copy.deepcopy(net.module_.state_dict())

    def on_epoch_end(self, net, **kwargs) -> None:
        """Compare the epoch with the best so far."""
        if self._state is None:
            return
        score = net.validation_score(net.history[-1])
        epoch, patience = len(net.history), net.n_iter_no_change
        if score > self.best_score_:
            self.best_epoch_, self.best_score_ = epoch, score
            self._state = copy.deepcopy(net.module_.state_dict())
        elif patience is not None and epoch - self.best_epoch_ >= patience:
            raise StopTraining

    def restore(self, net) -> None:
        """Give the network the state of the best epoch, and let go of the copy."""
        net.module_.load_state_dict(self._state)
        self._state = None

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_state"}


def is_deliberate(interrupt: KeyboardInterrupt) -> bool:
    """Tell whether code raised the interrupt, and not the user's Ctrl-C.

    skorch's way to end training from a callback is to raise KeyboardInterrupt. Where
    it comes from a ``raise``, the last instruction says so; Python's own handler of the
    signal comes in between any others.
    """
    place = interrupt.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    instruction = place.tb_frame.f_code.co_code[place.tb_lasti]
    return dis.opname[instruction] == "RAISE_VARARGS"
