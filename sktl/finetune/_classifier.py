"""``FineTunedClassifier``."""

from __future__ import annotations

from numbers import Real

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNetClassifier

from sktl.finetune._activation_sets import are_activations
from sktl.finetune._fine_tuned import FineTuned, passed
from sktl.finetune._fit import fit
from sktl.finetune._targets import Labels


class FineTunedClassifier(FineTuned, NeuralNetClassifier):
    """Train the last stages of a pretrained network, and a new head, to classify.

    A :class:`skorch.NeuralNetClassifier` that behaves as a scikit-learn classifier:
    images and labels of any kind in, labels out.

    Parameters
    ----------
    backbone : str, torch.nn.Module or callable, default="efficientnet_lite0"
        The network: a name of :func:`sktl.list_backbones`, ``"timm/<name>"``, a
        module, or a callable that returns one.

    weights : str, path or None, default="default"
        Which weights the network starts from, as in
        :class:`~sktl.PretrainedFeatures`. With ``None`` they are random.

    unfreeze : "head", int, "all", str or list of str, default=1
        Where the network is cut; the stages behind the cut are trained.

        - ``"head"``: no stage of the network, only the new head;
        - ``k``: the last k stages that have parameters;
        - ``"all"``: everything;
        - names or shell-style patterns of stages (``["stage3", "stage4"]``,
          ``"stage*"``).

        What is not trained is frozen: parameters, BatchNorm statistics and dropout.

    head : "linear" or callable, default="linear"
        The new last layer, or a callable ``(n_features, n_outputs) -> Module``, which
        needs ``head_init="random"``.

    head_init : {"probe", "random"}, default="probe"
        How the head starts: as a :class:`ProbeClassifier` solved on the embeddings of
        the untouched network (head first, then deeper [1]_), or at random.
        A random head sends random gradients into pretrained weights at first.

    max_epochs : int, default=20
        Passes over the training images. 0 leaves the probe.

    lr : float, default=1e-3
        Learning rate of the head.

    lr_decay : float, default=0.3
        Each trained stage learns at ``lr_decay`` times the rate of the one above it.

    schedule : {"constant", "cosine", "onecycle"}, default="cosine"
        How the rates change from step to step.

    warmup : float, default=0.1
        Share of all steps over which the rates rise to their full values. Runs of
        n < 100 steps peak at n/100 of them, because a few long steps would ruin the
        solved head. 0 starts at the full rates in any case.

    gradual : bool, default=False
        Whether stages are unfrozen one after the other: only the head learns in the
        first epoch, and one more stage in each of the next.

    augment : {"none", "light", "strong"}, dict or callable, default="light"
        Random variations of training images only: ``"light"`` flips left to right and
        crops, ``"strong"`` also rotates, changes colours and erases.
        A dict sets ``flip`` and ``vertical_flip`` (probabilities), ``crop`` (the least
        share of the area to keep), ``shift`` (the longest way, as a share of the
        sides), ``rotate`` (degrees), ``color`` (the largest relative change) and
        ``erase`` (the probability of covering a part). A callable, such as a transform
        of ``torchvision.transforms.v2``, gets and returns one image tensor with values
        from 0 to 1. Its views are computed again in each fit; those of a name or a
        dict are shared through the store. Take care if orientation matters, as with
        digits. Rows of a table that are not images (read as one pixel high) are never
        varied.

    n_views : int or None, default=4
        How augmentation and frozen stages work together. ``k`` draws k views of each
        image once, the first being the image itself, and keeps their activations at
        the cut; each epoch sees one view of each image. 1 is the image alone, not
        varied. ``None`` varies images and runs the frozen stages on them in every
        epoch. No effect if nothing is varied, or nothing is frozen.

    mixup : float, default=0.0
        Parameter of the Beta distribution for blending pairs of rows; 0 turns it off.
        The inputs of the trained part are blended: pixels with ``unfreeze="all"``,
        otherwise activations at the cut.

    label_smoothing : float, default=0.0
        Share of the target that is spread evenly over all classes.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; ``"balanced"`` gives each the same total.

    early_stopping : bool, default=False
        Whether to hold out a part of the training images, to stop when their loss no
        longer falls, and to keep the best epoch; epoch 0 is the network before the
        first step. What is measured and kept is a running average of the weights,
        because single epochs go up and down.

    validation_fraction : float, default=0.2
        Share of the training images to hold out for early stopping.

    n_iter_no_change : int or None, default=5
        The patience: epochs without improvement before training stops, counted from
        when the learning rates are full and all stages learn. ``None`` trains to the
        end and keeps the best epoch.

    refit : bool, default=True
        Whether the held-out images count in the end. If epoch 0 was best, the probe is
        solved on all images; otherwise the network is trained again on all of them, at
        the same rates, up to the best epoch. ``False`` keeps the network that was
        watched. What a ``train_split`` of your own holds out is never trained on.

    batch_size : int, default=32
        Images per step.

    image_size, image_shape, value_range, precision, device
        How images are read and where the network runs, as in
        :class:`~sktl.PretrainedFeatures`. Outputs are float32 in any precision.

    cache : "session", path, EmbeddingStore or None, default="session"
        Where activations at the cut are kept, and shared with
        :class:`~sktl.PretrainedFeatures`.

    max_bytes : int, default=2 GiB
        The most memory that the activations of the training images may take. Above
        it the frozen stages run in every epoch instead, and a warning says so.

    random_state : int, RandomState instance or None, default=None
        Seed of the head, the order of rows, the inner split, variations and mixing.
        ``None`` uses new seeds in each ``fit``, except for the ``n_views`` views, which
        folds and candidates share; a ``RandomState`` gives new seeds for everything.

    classes : array-like or None, default=None
        All labels, if some may be missing from ``y``, such as a rare class in a fold.

    warm_start : bool, default=False
        Whether ``fit`` continues the training of the fit before.

    verbose : int, default=0
        Print one line per epoch when above 0, and a progress bar for frozen stages.

    **kwargs : dict
        Parameters of skorch: ``optimizer`` (by default ``torch.optim.AdamW``; norms and
        biases are exempt from its weight decay), ``criterion`` (on logits; by default
        cross-entropy, binary for several labels per image), ``callbacks``,
        ``train_split`` (such as ``ValidSplit(5)`` or ``predefined_split(...)``; its
        validation part is what early stopping watches), ``iterator_train``,
        ``iterator_valid``, ``predict_nonlinearity``, ``use_caching``,
        ``torch_load_kwargs``, and those with a double underscore:
        ``optimizer__weight_decay``, ``criterion__...``, ``iterator_train__drop_last``,
        ``callbacks__...``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

    module_ : torch.nn.Module
        The trained part: the stages behind the cut and the head. It takes activations
        at the cut.

    backbone_ : BackboneRef
        Name, facts and fingerprint of the network it started from.

    cut_ : Cut
        ``after`` (the last frozen stage before the cut), ``behind`` and ``trained``
        (stages).

    history : skorch.history.History
        One entry per epoch, of the run that was watched. ``event_lr`` is the rate of
        the head at its last step.

    epochs_ : dict of ndarray
        The same as columns, epoch 0 included: ``pandas.DataFrame(model.epochs_)``.

    best_epoch_ : int
        The epoch whose weights were kept.

    n_iter_ : int
        Number of epochs trained.

    value_range_ : (float, float) or None
        The pixel values that mean black and white; None if the type of the pixels
        defines them.

    n_features_in_ : int
        Columns of X, when X is a table.

    feature_names_in_ : ndarray of str
        Names of the columns of X, when X is a data frame.

    See Also
    --------
    FineTunedRegressor : The same for numbers.
    PretrainedFeatures : Embeddings of the frozen network, for any scikit-learn head.

    Notes
    -----
    The output of the frozen stages is a function of the image alone. ``fit`` computes
    it once per image (and view), keeps it in the store, and trains the rest on it; all
    epochs, folds and candidates with the same cut share it, and with
    ``unfreeze="head"`` also with :class:`~sktl.PretrainedFeatures`.

    BatchNorm layers of trained stages train their scale and shift, and keep the mean
    and variance of pretraining: from the first step, batch statistics would change the
    embeddings that the head was solved on. With ``weights=None`` there is nothing to
    keep, and mean and variance are learned as well.

    Equal images with equal targets count as one row with the sum of their weights, so
    repeating an image is the same as weighting it, and the order of X does not matter.
    No image, or no group if there are any, is on both sides of the inner split. A
    ``train_split`` gets the rows of X unchanged.

    It is a skorch net: ``history``, ``callbacks``, ``save_params``, ``load_params`` and
    ``initialize`` (which needs ``classes`` before ``fit``) work as skorch documents.
    The user guide lists the differences. Ctrl-C during ``fit`` leaves a usable network
    and reaches the caller, so that a search ends as well.

    Training continues with ``partial_fit``, or ``fit`` with ``warm_start=True``; a
    larger ``unfreeze`` set in between unfreezes more stages.

    A pickle holds the trained part and the fingerprint of the rest; the state of the
    optimizer and the losses of single batches are left out. With ``n_jobs``, each
    worker loads its own network.

    References
    ----------
    .. [1] A. Kumar, A. Raghunathan, R. Jones, T. Ma and P. Liang, "Fine-tuning can
       distort pretrained features and underperform out-of-distribution", ICLR 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = FineTunedClassifier(
    ...     "lenet5", unfreeze=2, max_epochs=5, augment="none", random_state=0
    ... )
    >>> model.fit(X[:300], y[:300]).score(X[300:600], y[300:600]) > 0.9
    True
    >>> model.cut_.after, model.cut_.trained
    ('stage1', ('stage2', 'fc6'))
    """

    _targets: Labels
    _parameter_constraints: dict = {
        **FineTuned._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "classes": ["array-like", None],
    }

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
        augment="light",
        n_views=4,
        mixup=0.0,
        label_smoothing=0.0,
        class_weight=None,
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
        classes=None,
        warm_start=False,
        verbose=0,
        **kwargs,
    ):
        super().__init__(**passed(locals()))

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X, y, classes=None, sample_weight=None, groups=None
    ) -> FineTunedClassifier:
        """Continue training for ``max_epochs`` more epochs.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in ``fit``.

        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur; needed in the first call unless ``y`` has
            them all.

        Returns
        -------
        self : FineTunedClassifier
            The fitted classifier.
        """
        fit(self, X, y, sample_weight, groups, classes)
        return self

    def predict(self, X) -> np.ndarray:
        """Return the most likely label of each image.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``; images may come in another form.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or indicators of those above one half.
        """
        logits = self._outputs(X)
        if self.multilabel_:
            return (logits > 0).astype(self._targets.dtype)
        codes = logits.argmax(1)
        # skorch scores the data sets it was given, whose targets are class numbers.
        return codes if are_activations(X) else self.classes_[codes]

    def predict_proba(self, X) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes), dtype float32
            In the order of ``classes_``; with several labels per image, the probability
            of each label by itself.
        """
        logits = torch.from_numpy(self._outputs(X))
        return self._get_predict_nonlinearity()(logits).numpy()

    def decision_function(self, X) -> np.ndarray:
        """Return the logits.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,)
            For two classes, the logit of the second against the first.
        """
        logits = self._outputs(X)
        if logits.shape[1] == 2 and not self.multilabel_:
            return logits[:, 1] - logits[:, 0]
        return logits

    @property
    def classes_(self):
        """The labels, sorted."""
        if "_targets" in vars(self):
            return self._targets.classes
        raise AttributeError(f"{type(self).__name__} is not fitted and has no classes_")

    @property
    def multilabel_(self) -> bool:
        """Whether an image may have several labels."""
        return self._targets.several

    def _learn_targets(self, y, classes):
        return Labels.learn(y, self.classes if classes is None else classes)

    def _expected_targets(self):
        if self.classes is None:
            raise ValueError(
                "initialize() before fit needs to know the classes: pass them in the "
                "parameter classes."
            )
        classes = np.unique(self.classes)
        return Labels(classes, several=False, dtype=classes.dtype)

    def _restore_targets(self, facts):
        return Labels.restore(facts)

    def _get_predict_nonlinearity(self):
        if self.predict_nonlinearity != "auto":
            return super()._get_predict_nonlinearity()
        check_is_fitted(self)
        return _open_sigmoid if self.multilabel_ else _softmax

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits.double().softmax(-1).float()


def _open_sigmoid(logits: torch.Tensor) -> torch.Tensor:
    """Return probabilities that float32 does not round to 0 or 1."""
    tiny = torch.finfo(torch.float32).eps
    return logits.sigmoid().clamp(tiny, 1 - tiny)
