"""``FineTunedRegressor``."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils.validation import _check_y
from skorch import NeuralNetRegressor
from torch import nn
from torch.utils.data import DataLoader

from sktl.finetune._base import FineTuned
from sktl.finetune._head import fill_head, probe_targets
from sktl.finetune._trained_part import ScaledOutput


class FineTunedRegressor(FineTuned, NeuralNetRegressor):
    """DOC"""

    def __init__(
        self,
        backbone="pocket",
        *,
        weights="default",
        unfreeze=1,
        head="linear",
        head_init="probe",
        max_epochs=20,
        lr=1e-3,
        lr_decay=0.3,
        schedule="cosine",
        warmup=0.1,
        gradual=False,
        augment="light",
        n_views=None,
        mixup=0.0,
        cutmix=0.0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        batch_size=32,
        image_size=None,
        image_shape=None,
        value_range=None,
        precision="float32",
        device="auto",
        cache="session",
        max_bytes=2 * 1024**3,
        random_state=None,
        optimizer=torch.optim.AdamW,
        criterion=nn.MSELoss,
        iterator_train=DataLoader,
        iterator_valid=DataLoader,
        train_split=None,
        callbacks=None,
        warm_start=False,
        use_caching="auto",
        torch_load_kwargs=None,
        verbose=0,
        **kwargs,
    ):
        super().__init__(
            backbone,
            weights=weights,
            unfreeze=unfreeze,
            head=head,
            head_init=head_init,
            max_epochs=max_epochs,
            lr=lr,
            lr_decay=lr_decay,
            schedule=schedule,
            warmup=warmup,
            gradual=gradual,
            augment=augment,
            n_views=n_views,
            mixup=mixup,
            cutmix=cutmix,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            batch_size=batch_size,
            image_size=image_size,
            image_shape=image_shape,
            value_range=value_range,
            precision=precision,
            device=device,
            cache=cache,
            max_bytes=max_bytes,
            random_state=random_state,
            optimizer=optimizer,
            criterion=criterion,
            iterator_train=iterator_train,
            iterator_valid=iterator_valid,
            train_split=train_split,
            callbacks=callbacks,
            warm_start=warm_start,
            use_caching=use_caching,
            torch_load_kwargs=torch_load_kwargs,
            verbose=verbose,
            **kwargs,
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, groups=None):
        """Train the head and the unfrozen stages on images.

        Parameters
        ----------
        X : array-like of images
            Arrays, paths, encoded bytes, PIL images or flattened rows.

        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images. Weight 2 is the same as the image occurring twice.

        groups : array-like of shape (n_samples,), default=None
            Images of one group stay on one side of the inner split.

        Returns
        -------
        self : FineTunedRegressor
            The fitted regressor.
        """
        fresh = not (self.warm_start and self.initialized_)
        return self._train(X, y, sample_weight, groups, fresh=fresh)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, groups=None):
        """Train for ``max_epochs`` more, from where the network is.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in ``fit``.

        Returns
        -------
        self : FineTunedRegressor
            The fitted regressor.
        """
        fresh = not self.initialized_
        return self._train(X, y, sample_weight, groups, fresh=fresh)

    def predict(self, X):
        """Return the targets of images.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``; another form of images is welcome.

        Returns
        -------
        targets : ndarray of shape (n_samples,) or (n_samples, n_targets)
            In the units of ``y``: float32, the precision of the network; several
            targets come as float64, which scikit-learn's checks demand.
        """
        outputs = self._outputs(X)
        if getattr(self, "_one_target", True):
            return outputs[:, 0].astype(np.float32)
        return outputs.astype(np.float64)

    @property
    def predict_proba(self):
        """Not there: a regressor has no classes."""
        raise AttributeError(f"{type(self).__name__} has no attribute 'predict_proba'")

    def _read_target(self, y, *, reset):
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but "
                "the target y is None."
            )
        y = _check_y(y, multi_output=True, y_numeric=True, estimator=self)
        columns = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if reset:
            self._one_target = np.ndim(y) == 1
        elif columns.shape[1] != self._n_outputs():
            raise ValueError(
                f"y has {columns.shape[1]} targets, but the network was built for "
                f"{self._n_outputs()}."
            )
        return columns

    def _learn_target(self, rows, *, reset):
        if reset:
            mean = np.average(rows.y, axis=0, weights=rows.weight)
            spread = np.sqrt(
                np.average((rows.y - mean) ** 2, axis=0, weights=rows.weight)
            )
            # A constant target keeps its own scale.
            self._target_scale = mean, np.where(spread > 0, spread, 1.0)

    def _n_outputs(self):
        return len(self._target_scale[0]) if hasattr(self, "_target_scale") else 1

    def _finish_head(self, head):
        n = self._n_outputs()
        scale = getattr(self, "_target_scale", (np.zeros(n), np.ones(n)))
        dtype = torch.float32 if self.device == "mps" else torch.float64
        return ScaledOutput(
            head, *(torch.as_tensor(part, dtype=dtype) for part in scale)
        )

    def _fill_head(self, embeddings, train):
        mean, spread = self._target_scale
        solution = probe_targets(embeddings, (train.y - mean) / spread, train.weight)
        fill_head(self.module_.head.head, *solution)

    def _criterion(self):
        return nn.MSELoss if self.criterion is None else self.criterion

    def _row_losses(self, y_pred, y_true, training):
        standardise = self.module_.head.standardise
        return self.criterion_(standardise(y_pred).float(), standardise(y_true).float())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
