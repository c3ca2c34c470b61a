"""Callbacks of fine-tuning: early stopping, and a log that only prints when asked."""

from __future__ import annotations

import copy
import dis

from skorch.callbacks import Callback, PrintLog
from torch import Tensor


class BestEpoch(Callback):
    """Watch the loss on held-out rows and remember the best state of the network.

    It is active from ``begin`` to ``restore``, and idle otherwise.
    """

    _state: dict[str, Tensor] | None = None
    is_over = False

    def begin(self, net, loss: float, n_rising: int) -> None:
        """Keep the state and the loss before the first step: epoch 0.

        Patience does not count the first ``n_rising`` epochs, before the rates are at
        their full height and all stages learn.
        """
        self.is_over = False
        self._counts_from = len(net.history) + n_rising
        self._note(net, len(net.history), loss)

    def on_epoch_end(self, net, **kwargs) -> None:
        """Compare the epoch with the best so far."""
        if self._state is None:
            return
        loss = net.history[-1]["valid_loss"]
        epoch, patience = len(net.history), net.n_iter_no_change
        since = max(self.best_epoch_, self._counts_from)
        # Accuracy is left out: among 50 images it moves by 2 points for a single one.
        if loss < self.best_loss_:
            self._note(net, epoch, loss)
        elif patience is not None and epoch - since >= patience:
            # The net stops before the next epoch, so that all callbacks see this one.
            self.is_over = True

    def _note(self, net, epoch: int, loss: float) -> None:
        self.best_epoch_, self.best_loss_ = epoch, loss
        self._state = copy.deepcopy(net.module_.state_dict())

    def restore(self, net) -> None:
        """Give the network the state of the best epoch, and drop the copy."""
        net.module_.load_state_dict(self._state)
        self._state = None

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_state"}


class QuietLog(PrintLog):
    """skorch's log, which otherwise formats a table in every epoch, printed or not."""

    def on_epoch_end(self, net, **kwargs):
        """Print the epoch, if the log goes anywhere."""
        # Formatting takes a fifth of what skorch adds to the epoch of a linear head.
        if net.verbose or self.sink is not print:
            super().on_epoch_end(net, **kwargs)


def is_deliberate(interrupt: KeyboardInterrupt) -> bool:
    """Tell whether code raised the interrupt, and not the user's Ctrl-C.

    skorch's way to end training from a callback is to raise KeyboardInterrupt. If it
    comes from a ``raise``, the last instruction says so; Python's own signal handler
    runs between other instructions.
    """
    place = interrupt.__traceback__
    assert place is not None  # it was caught
    while place.tb_next is not None:
        place = place.tb_next
    instruction = place.tb_frame.f_code.co_code[place.tb_lasti]
    return dis.opname[instruction] == "RAISE_VARARGS"
