"""``SavedNet``: what of a net goes into files and pickles, and how it comes back."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping

from skorch.exceptions import DeviceWarning
from skorch.history import History
from torch import nn

from sktl.engine import resolve_device
from sktl.finetune._parameters import NetParameters
from sktl.finetune._rates import restore_rates


class SavedNet(NetParameters):
    """A net that saves what it has trained, and no more."""

    def save_params(self, *args, **kwargs):
        """Save weights, optimiser or history to files, as skorch does.

        With the weights goes what predictions need beside them, such as the classes.

        Parameters
        ----------
        *args, **kwargs
            As in :meth:`skorch.NeuralNet.save_params`.
        """
        self._need_optimizer()
        super().save_params(*args, **kwargs)

    def load_params(
        self,
        f_params=None,
        f_optimizer=None,
        f_criterion=None,
        f_history=None,
        checkpoint=None,
        **kwargs,
    ):
        """Load what ``save_params`` or a checkpoint has saved, as skorch does.

        Training can go on from there.

        Parameters
        ----------
        f_params, f_optimizer, f_criterion, f_history, checkpoint, **kwargs
            As in :meth:`skorch.NeuralNet.load_params`.
        """
        self._need_optimizer()
        before = None
        if self.initialized_:
            before = copy.deepcopy(self.module_.state_dict())
        try:
            super().load_params(
                f_params, f_optimizer, f_criterion, f_history, checkpoint, **kwargs
            )
            # Weights of a net that was merely initialised have no facts.
            if (f_params or checkpoint) and self.module_.facts:
                self._adopt(self.module_.facts)
                self._begun = True
        except (RuntimeError, ValueError) as error:
            if before is not None:
                self.module_.load_state_dict(before)
            if "size mismatch for head" not in str(error):
                raise
            raise ValueError(
                f"{f_params or checkpoint} has a head for another number of outputs "
                f"than this net ({self._n_outputs()}). Load it into a net fitted to "
                "targets of the same kind, or keep whole models with "
                "sktl.persistence.save_model."
            ) from error
        if f_optimizer or checkpoint:
            restore_rates(self.optimizer_)

    def _adopt(self, facts: Mapping) -> None:
        """Take over what loaded weights say of the data they were trained on."""
        raise NotImplementedError

    def __getstate__(self):
        # Only what was trained, on the CPU; the optimiser's moments (twice the weights)
        # are left out and begin anew if training goes on, and so are the losses of
        # single batches.
        state = {k: v for k, v in vars(self).items() if k not in ("optimizer_", "_run")}
        if state.get("history_"):
            epochs = [{**epoch, "batches": []} for epoch in state["history_"]]
            state["history_"] = History(epochs)
        for name in ("module_", "criterion_"):
            if isinstance(state.get(name), nn.Module):
                state[name] = copy.deepcopy(state[name]).to("cpu")
                state[name].zero_grad()
        return state

    def __setstate__(self, state):
        vars(self).update(state)
        try:
            device = resolve_device(self.device)
        except ValueError:
            warnings.warn(
                f"This estimator was made for device={vars(self)['device']!r}, which "
                "is not here; it goes on with device='cpu'.",
                DeviceWarning,
                stacklevel=2,
            )
            device = self.device = "cpu"
        for name in ("module_", "criterion_"):
            if isinstance(vars(self).get(name), nn.Module):
                vars(self)[name].to(device)
