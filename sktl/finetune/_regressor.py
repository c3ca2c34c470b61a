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
from sktl.finetune._head import fill_head
from sktl.finetune._parameters import passed
from sktl.finetune._probe import probe_targets
from sktl.finetune._trained_part import ScaledOutput


class FineTunedRegressor(FineTuned, NeuralNetRegressor):
    """Train the last stages of a pretrained network, and a new head, on numbers.

    A :class:`skorch.NeuralNetRegressor` that behaves as a scikit-learn regressor, for
    one target or several. The loss is measured on targets of mean 0 and spread 1; the
    network answers in the units of ``y``.

    Parameters
    ----------
    backbone : str, torch.nn.Module or callable, default="pocket"
        The network: a name of :func:`sktl.list_backbones`, ``"timm/<name>"``, a
        module, or a callable that returns one.

    weights : str, path or None, default="default"
        Which weights the network starts from, as in
        :class:`~sktl.PretrainedFeatures`. With ``None`` they are random.

    unfreeze : "head", int, "all", str or list of str, default=1
        Where the network is cut; what lies behind the cut is trained.

        - ``"head"``: nothing of the network, only the new head;
        - ``k``: the last k stages that have parameters;
        - ``"all"``: everything;
        - names or shell-style patterns of stages (``["stage3", "stage4"]``,
          ``"stage*"``).

        What is not trained is frozen: parameters, BatchNorm statistics and dropout.

    head : "linear" or callable, default="linear"
        The new last layer, or a callable ``(n_features, n_outputs) -> Module``, which
        needs ``head_init="random"``.

    head_init : {"probe", "random"}, default="probe"
        How the head begins: with a ridge regression solved on the embeddings
        of the untouched network, its ``alpha`` chosen by cross-validation among the
        training rows, or at random.
        A random head sends random gradients into pretrained weights at first.

    max_epochs : int, default=20
        Passes over the training images. 0 leaves the probe.

    lr : float or "find", default=1e-3
        Learning rate of the head. ``"find"`` runs a range test first and keeps its
        outcome in ``lr_``.

    lr_decay : float, default=0.3
        Each trained stage learns at ``lr_decay`` times the rate of the one above it.

    schedule : {"constant", "cosine", "onecycle"}, default="cosine"
        How the rates change from step to step.

    warmup : float, default=0.1
        Share of all steps over which the rates rise to their full values; in a
        training of n < 100 steps to n hundredths of them, for a few long steps would
        wreck what the head was solved on. 0 begins with the full rates in any case.

    gradual : bool, default=False
        Whether stages begin to learn one after the other: the head in the first
        epoch, one stage more in each of the next.

    augment : {"none", "light", "strong"}, dict or callable, default="light"
        Random variations of training images, never of others: ``"light"`` flips
        left-right and crops, ``"strong"`` also rotates, changes colours and erases.
        A dict sets ``flip``, ``vertical_flip``, ``crop``, ``rotate``, ``color`` and
        ``erase``; a callable, such as a transform of ``torchvision.transforms.v2``,
        gets and returns one image tensor with values from 0 to 1. Mind tasks in which
        orientation matters, such as digits. Rows of a table that are no images (read
        as one pixel high) are never varied.

    n_views : int or None, default=4
        How augmentation and frozen stages go together. ``k`` draws k views of each
        image once, the first being the image itself, and keeps their activations at
        the cut; each epoch sees one view of each image. 1 is the image alone, not
        varied. ``None`` varies images anew and runs the frozen stages on them in every
        epoch. No effect where nothing is varied, or nothing frozen.

    mixup, cutmix : float, default=0.0
        Parameter of the Beta distribution by which rows of a batch are mixed; 0 is
        off. Mixed are the inputs of the trained part: pixels with
        ``unfreeze="all"``, otherwise activations at the cut.

    early_stopping : bool, default=False
        Whether to hold out a part of the training images, to stop when its score no
        longer improves, and to keep the best epoch. The network before the first step
        counts as epoch 0, so that the result is never worse there than the probe.

    validation_fraction : float, default=0.1
        Share of the training images to hold out for early stopping.

    n_iter_no_change : int or None, default=5
        Epochs without improvement before training stops. ``None`` trains on to the
        end and keeps the best epoch.

    batch_size : int, default=32
        Images per step.

    image_size : int, (int, int) or None, default=None
        Height and width at which the network sees the images. ``None`` is the size
        of its published recipe.

    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of images that come as
        rows of a table.

    value_range : (float, float) or None, default=None
        The pixel values that mean black and white. ``None`` learns it in ``fit`` where
        the type of the pixels does not say it.

    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Arithmetic of the network. Outputs are float32 in any case.

    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; ``"auto"`` takes a GPU if there
        is one.

    cache : "session", path, EmbeddingStore or None, default="session"
        Where activations at the cut are kept, and shared with
        :class:`~sktl.PretrainedFeatures`.

    max_bytes : int, default=2 GiB
        The most memory that the activations of the training images may take. Above
        it the frozen stages run in every epoch instead, and a warning says so.

    random_state : int, RandomState instance or None, default=None
        Draws the head, the order of rows, the inner split, variations and mixing.
        ``None`` draws anew in each ``fit``, except that the ``n_views`` views are the
        same ones, for folds and candidates to share; a ``RandomState`` draws everything
        anew.

    optimizer : type, default=torch.optim.AdamW
        What takes the steps. Norms and biases are exempt from its weight decay.

    criterion : type, default=torch.nn.MSELoss
        The loss, on standardised targets.

    iterator_train, iterator_valid : type, default=DataLoader
        Where batches come from. Training rows are shuffled.

    train_split : callable or None, default=None
        skorch's inner split, such as ``ValidSplit(5)`` or ``predefined_split(...)``;
        its validation part is what early stopping watches.

    callbacks : list or None, default=None
        skorch callbacks.

    warm_start : bool, default=False
        Whether ``fit`` goes on from the network as it is.

    use_caching : bool or "auto", default="auto"
        Whether scoring callbacks share one pass over the validation part.

    torch_load_kwargs : dict or None, default=None
        How ``load_params`` reads files.

    verbose : int, default=0
        Print one line per epoch when above 0, and a progress bar for frozen stages.

    **kwargs : dict
        Parameters with a double underscore, as in skorch: ``optimizer__weight_decay``,
        ``criterion__...``, ``iterator_train__drop_last``, ``callbacks__...``.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained part: the stages behind the cut and the head. Its input are
        activations at the cut.

    backbone_ : BackboneRef
        Name, facts and fingerprint of the network it started from.

    cut_ : Cut
        ``after`` (the last frozen stage before the cut), ``behind`` and ``trained``
        (stages).

    history : skorch.history.History
        One entry per epoch. ``event_lr`` is the rate of the head at its last step.

    epochs_ : dict of ndarray
        The same as columns, epoch 0 included: ``pandas.DataFrame(model.epochs_)``.

    best_epoch_ : int
        The epoch whose network remains.

    n_iter_ : int
        Number of epochs trained.

    lr_ : float
        Learning rate of the head.

    lr_curve_ : dict of ndarray
        Rates and losses of the range test, with ``lr="find"``.

    value_range_ : (float, float) or None
        The pixel values that mean black and white; None where the type of the pixels
        says it.

    n_features_in_ : int
        Columns of X, when X is a table.

    feature_names_in_ : ndarray of str
        Names of the columns of X, when X is a data frame.

    See Also
    --------
    FineTunedClassifier : The same for classes.
    PretrainedFeatures : Embeddings of the frozen network, for any scikit-learn head.

    Notes
    -----
    The output of the frozen stages is a function of the image alone. ``fit`` computes
    it once per image (and view), keeps it in the store, and trains the rest on it; all
    epochs, folds and candidates with the same cut share it, and with
    ``unfreeze="head"`` also with :class:`~sktl.PretrainedFeatures`.

    BatchNorm layers of trained stages train their scale and shift, and keep the mean
    and variance of pretraining: batch statistics would change from the first step
    what the head was solved on. With ``weights=None`` there is nothing to keep, and
    they are trained as well.

    Equal images with equal targets count as one row with the sum of their weights,
    so weights and repetitions are the same, the order of X plays no part, and no
    image is on both sides of the inner split of early stopping. A ``train_split``
    speaks of the rows of X as they are, and so does an ``iterator_train__sampler``,
    with a ``train_split`` of those to train on.

    Ctrl-C during ``fit`` leaves a usable network, the best so far under early
    stopping, and goes on to the caller, so that a search ends as well. A callback
    that ends training the way skorch does it (by raising ``KeyboardInterrupt``) does
    just that.

    It is a skorch net: ``history``, ``callbacks``, ``save_params``, ``load_params``
    and ``initialize`` work as skorch documents. skorch's ``Checkpoint`` and
    ``LoadInitState`` save and resume a training. A ``LRScheduler`` of skorch needs
    ``schedule="constant", warmup=0``.

    Training goes on with ``partial_fit``, or ``fit`` with ``warm_start=True``; a
    larger ``unfreeze`` set in between opens more stages.

    A pickle holds the trained part and the fingerprint of the rest; the state of the
    optimiser and the losses of single batches are left out. With ``n_jobs`` each
    worker loads its own network.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTunedRegressor
    >>> X, y = load_digits(return_X_y=True)
    >>> model = FineTunedRegressor("lenet5", augment="none", random_state=0)
    >>> model.fit(X[:300], y[:300]).score(X[300:600], y[300:600]) > 0.7
    True
    """

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
        n_views=4,
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
        super().__init__(**passed(locals()))

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
        return self._train(X, y, sample_weight, groups, anew=not self.warm_start)

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
        return self._train(X, y, sample_weight, groups, anew=False)

    def predict(self, X):
        """Return the targets of images.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``; another form of images is welcome.

        Returns
        -------
        targets : ndarray of shape (n_samples,) or (n_samples, n_targets)
            In the units of ``y``, as float64: those units may need more digits than
            the network has.
        """
        outputs = self._outputs(X).astype(np.float64)
        return outputs[:, 0] if getattr(self, "_one_target", True) else outputs

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

    def _learn_target(self, rows):
        mean = np.average(rows.y, axis=0, weights=rows.weight)
        spread = np.sqrt(np.average((rows.y - mean) ** 2, axis=0, weights=rows.weight))
        # A constant target keeps its own scale.
        self._target_scale = mean, np.where(spread > 0, spread, 1.0)

    def _adopt_targets(self):
        self.module_.head.rescale(*self._target_scale)

    def _facts(self):
        return {**super()._facts(), "one_target": self._one_target}

    def _adopt(self, facts):
        super()._adopt(facts)
        self._one_target = facts["one_target"]
        head = self.module_.head
        self._target_scale = tuple(
            part.cpu().double().numpy() for part in (head.mean, head.spread)
        )

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
        solution = probe_targets(
            embeddings, (train.y - mean) / spread, train.weight, train.groups
        )
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
