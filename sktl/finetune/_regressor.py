"""``FineTunedRegressor``."""

from __future__ import annotations

import numpy as np
from skorch import NeuralNetRegressor

from sktl.finetune._fine_tuned import FineTuned, passed
from sktl.finetune._targets import Numbers


class FineTunedRegressor(FineTuned, NeuralNetRegressor):
    """Train the last stages of a pretrained network, and a new head, on numbers.

    A :class:`skorch.NeuralNetRegressor` that behaves as a scikit-learn regressor, for
    one target or several. The loss is measured on targets of mean 0 and spread 1;
    predictions are in the units of ``y``.

    Parameters
    ----------
    backbone : str, torch.nn.Module or callable, default="efficientnet_lite0"
        The network: a name of :func:`sktl.list_backbones`, ``"timm/<name>"``, a
        module, or a callable that returns one.

    weights : str, path or None, default="default"
        Which weights the network starts from, as in
        :class:`~sktl.PretrainedFeatures`. With ``None`` they are random.

    unfreeze : "head", int, "all", str or list of str, default=1
        What is trained besides the head: nothing, the last k stages that have
        parameters, everything, or stages by name or pattern.

    head : "linear" or callable, default="linear"
        The new last layer, or a callable ``(n_features, n_outputs) -> Module``, which
        needs ``head_init="random"``.

    head_init : {"probe", "random"}, default="probe"
        How the head starts: as a ridge regression solved on the embeddings of the
        untouched network, with ``alpha`` chosen by cross-validation on the training
        rows, or at random.

    max_epochs : int, default=20
        Passes over the training images. 0 leaves the probe.

    lr, lr_decay, schedule, warmup, gradual
        Learning rates, as in :class:`FineTunedClassifier`.

    augment : {"none", "light", "strong"}, dict or callable, default="none"
        Random variations of training images, as in :class:`FineTunedClassifier`. None
        by default, unlike there: a flip or a crop keeps the class of an image, but
        moves positions, turns angles and changes sizes and counts. Vary only what
        leaves your targets as they are.

    n_views : int or None, default=4
        How many views of each image are kept, as in :class:`FineTunedClassifier`. No
        effect with ``augment="none"``.

    mixup : float, default=0.0
        Parameter of the Beta distribution for blending pairs of rows; 0 turns it off.

    early_stopping : bool, default=False
        Whether to hold out a part of the training images, to stop when their loss no
        longer falls, and to keep the best epoch; epoch 0 is the network before the
        first step.

    validation_fraction, n_iter_no_change, refit, batch_size
        As in :class:`FineTunedClassifier`.

    image_size, image_shape, value_range, precision, device, cache
        As in :class:`~sktl.PretrainedFeatures`.

    max_bytes : int, default=2 GiB
        The most memory that the activations of the training images may take. Above
        it the frozen stages run in every epoch instead, and a warning says so.

    random_state : int, RandomState instance or None, default=None
        Seed of the head, the order of rows, the inner split, variations and mixing.

    warm_start : bool, default=False
        Whether ``fit`` continues the training of the fit before.

    verbose : int, default=0
        Print one line per epoch when above 0, and a progress bar for frozen stages.

    **kwargs : dict
        Parameters of skorch, as in :class:`FineTunedClassifier`. The default
        ``criterion`` is ``torch.nn.MSELoss``.

    Attributes
    ----------
    module_, backbone_, cut_, history, epochs_, best_epoch_, n_iter_, value_range_
        As in :class:`FineTunedClassifier`.

    n_features_in_ : int
        Columns of X, when X is a table.

    feature_names_in_ : ndarray of str
        Names of the columns of X, when X is a data frame.

    See Also
    --------
    FineTunedClassifier : The same for classes, explained in full.
    PretrainedFeatures : Embeddings of the frozen network, for any scikit-learn head.

    Notes
    -----
    For what ``fit`` costs, what a pickle holds, how training continues and how rows are
    weighted, see the notes of :class:`FineTunedClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTunedRegressor
    >>> X, y = load_digits(return_X_y=True)
    >>> model = FineTunedRegressor("lenet5", random_state=0)
    >>> model.fit(X[:300], y[:300]).score(X[300:600], y[300:600]) > 0.7
    True
    """

    _targets: Numbers

    def __init__(
        self,
        backbone="efficientnet_lite0",
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
        augment="none",
        n_views=4,
        mixup=0.0,
        early_stopping=False,
        validation_fraction=0.2,
        n_iter_no_change=5,
        refit=True,
        batch_size=32,
        image_size=None,
        image_shape=None,
        value_range=None,
        precision="float32",
        device="auto",
        cache="session",
        max_bytes=2 * 1024**3,
        random_state=None,
        warm_start=False,
        verbose=0,
        **kwargs,
    ):
        super().__init__(**passed(locals()))

    def predict(self, X) -> np.ndarray:
        """Return the targets of images.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``; images may come in another form.

        Returns
        -------
        targets : ndarray of shape (n_samples,) or (n_samples, n_targets)
            In the units of ``y``, as float64: these may need more digits than float32
            has.
        """
        outputs = self._outputs(X).astype(np.float64)
        return outputs[:, 0] if self._targets.is_vector else outputs

    @property
    def predict_proba(self):
        """Not available: a regressor has no classes."""
        raise AttributeError(f"{type(self).__name__} has no attribute 'predict_proba'")

    def _learn_targets(self, y, classes):
        return Numbers.learn(y)

    def _expected_targets(self):
        return Numbers(np.zeros(1), np.ones(1), is_vector=True)

    def _restore_targets(self, facts):
        return Numbers.restore(facts)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
