"""``FineTunedClassifier``."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y, check_is_fitted
from skorch import NeuralNetClassifier
from skorch.callbacks import PassthroughScoring
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from sktl.finetune._activations import are_activations
from sktl.finetune._base import FineTuned
from sktl.finetune._head import fill_head
from sktl.finetune._parameters import passed
from sktl.finetune._probe import probe_classes


class FineTunedClassifier(FineTuned, NeuralNetClassifier):
    """Train the last stages of a pretrained network, and a new head, to classify.

    A :class:`skorch.NeuralNetClassifier` that behaves as a scikit-learn classifier:
    images and labels of any kind in, labels out.

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
        How the head begins: with a logistic regression solved on the
        embeddings of the untouched network (head first, then deeper [1]_), its ``C``
        chosen by cross-validation among the training rows, or at random.
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

    label_smoothing : float, default=0.0
        Share of the target that goes to all classes alike.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; ``"balanced"`` gives each the same total.

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

    classes : array-like or None, default=None
        All labels, where some may be missing from ``y``, as in the fold of a rare
        class.

    optimizer : type, default=torch.optim.AdamW
        What takes the steps. Norms and biases are exempt from its weight decay.

    criterion : type or None, default=None
        The loss, on logits. ``None`` is cross-entropy, binary for several labels per
        image.

    iterator_train, iterator_valid : type, default=DataLoader
        Where batches come from. Training rows are shuffled.

    train_split : callable or None, default=None
        skorch's inner split, such as ``ValidSplit(5)`` or ``predefined_split(...)``;
        its validation part is what early stopping watches.

    callbacks : list or None, default=None
        skorch callbacks.

    predict_nonlinearity : callable, "auto" or None, default="auto"
        What turns logits into probabilities.

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
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

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
    FineTunedRegressor : The same for numbers.
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
    and ``initialize`` work as skorch documents (before
    ``fit``, ``initialize`` needs ``classes``). skorch's ``Checkpoint`` and
    ``LoadInitState`` save and resume a training. A ``LRScheduler`` of skorch needs
    ``schedule="constant", warmup=0``.

    Training goes on with ``partial_fit``, or ``fit`` with ``warm_start=True``; a
    larger ``unfreeze`` set in between opens more stages.

    A pickle holds the trained part and the fingerprint of the rest; the state of the
    optimiser and the losses of single batches are left out. With ``n_jobs`` each
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

    _parameter_constraints: dict = {
        **FineTuned._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "classes": ["array-like", None],
        "predict_nonlinearity": [callable, StrOptions({"auto"}), None],
    }

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
        label_smoothing=0.0,
        class_weight=None,
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
        classes=None,
        optimizer=torch.optim.AdamW,
        criterion=None,
        iterator_train=DataLoader,
        iterator_valid=DataLoader,
        train_split=None,
        callbacks=None,
        predict_nonlinearity="auto",
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

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels of any kind, or an indicator matrix when an image may have several.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images. Weight 2 is the same as the image occurring twice.

        groups : array-like of shape (n_samples,), default=None
            Images of one group stay on one side of the inner split.

        Returns
        -------
        self : FineTunedClassifier
            The fitted classifier.
        """
        return self._train(X, y, sample_weight, groups, anew=not self.warm_start)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None, groups=None):
        """Train for ``max_epochs`` more, from where the network is.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in ``fit``.

        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed at the first call unless ``y`` has
            them all.

        Returns
        -------
        self : FineTunedClassifier
            The fitted classifier.
        """
        if not self._begun and classes is not None:
            self._announced = np.unique(classes)
        try:
            return self._train(X, y, sample_weight, groups, anew=False)
        finally:
            vars(self).pop("_announced", None)

    def predict(self, X):
        """Return the most likely label of each image.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``; another form of images is welcome.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or indicators of those above one half.
        """
        logits = self._outputs(X)
        if self.multilabel_:
            return (logits > 0).astype(self._label_dtype)
        codes = logits.argmax(1)
        # skorch scores data sets of its own making, whose targets are numbers.
        return codes if are_activations(X) else self.classes_[codes]

    def predict_proba(self, X):
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

    def decision_function(self, X):
        """Return the logits.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,)
            For two classes the logit of the second against the first.
        """
        logits = self._outputs(X)
        if logits.shape[1] == 2 and not self.multilabel_:
            return logits[:, 1] - logits[:, 0]
        return logits

    @property
    def classes_(self):
        """The labels, sorted."""
        if "classes_inferred_" in vars(self):
            return self.classes_inferred_
        if self.classes is not None:
            return np.unique(self.classes)
        raise AttributeError(f"{type(self).__name__} is not fitted and has no classes_")

    def _get_predict_nonlinearity(self):
        if self.predict_nonlinearity != "auto":
            return super()._get_predict_nonlinearity()
        check_is_fitted(self)
        return _open_sigmoid if self.multilabel_ else _softmax

    # ----- targets

    def _read_target(self, y, *, reset):
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but "
                "the target y is None."
            )
        y = y.toarray() if hasattr(y, "toarray") else y
        if np.asarray(y).dtype.kind == "f":
            assert_all_finite(y, input_name="y")
        try:
            kind = type_of_target(y, input_name="y", raise_unknown=True)
        except TypeError as error:  # labels that cannot be sorted
            kinds = sorted({type(label).__name__ for label in np.ravel(y)})
            raise ValueError(
                f"y mixes labels of several types, or lacks some: {', '.join(kinds)}. "
                "Pass labels of one type, with none missing."
            ) from error
        check_classification_targets(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y has several columns of classes (multiclass-multioutput). Pass one "
                "column, an indicator matrix, or use one classifier per column "
                "(sklearn.multioutput.MultiOutputClassifier)."
            )
        several = kind == "multilabel-indicator"
        y = _check_y(y, multi_output=several, estimator=self)
        y = np.asarray(y)
        if reset:
            self.multilabel_ = several
            self._label_dtype = y.dtype
            self.classes_inferred_ = self._find_classes(y)
        elif several != self.multilabel_:
            raise ValueError(
                "y is an indicator matrix in one call and a vector of labels in "
                "another; training can only go on with targets of the same kind."
            )
        if several:
            if y.shape[1] != len(self.classes_):
                raise ValueError(
                    f"y has {y.shape[1]} columns, but there are {len(self.classes_)} "
                    "labels."
                )
            return y.astype(np.float32)
        codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = np.unique(y[self.classes_[codes] != y])
        if len(unknown):
            raise ValueError(
                "y has labels that are not among the classes: "
                f"{unknown[:10].tolist()}. Name all classes in the parameter classes, "
                "or in the first call of partial_fit."
            )
        return codes

    def _find_classes(self, y: np.ndarray) -> np.ndarray:
        """Return the labels that were announced, or those that are there."""
        if y.ndim == 2:
            return np.arange(y.shape[1])
        if hasattr(self, "_announced"):
            return self._announced
        return np.unique(y if self.classes is None else self.classes)

    def _check_target(self, target, weight):
        if self.multilabel_:
            if self.class_weight is not None:
                raise ValueError(
                    "class_weight applies to one label per image, and y is an "
                    "indicator matrix. Pass sample_weight instead."
                )
            return
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, but y has "
                f"only one class: {self.classes_.tolist()[0]!r}."
            )
        present = np.unique(target[weight > 0])
        if len(present) < 2 and not self._begun and not hasattr(self, "_announced"):
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, but only "
                "one class has a weight above zero: "
                f"{self.classes_.tolist()[present[0]]!r}."
            )
        if isinstance(self.class_weight, Mapping):
            self._check_class_weight(self.class_weight, present)

    def _check_class_weight(self, class_weight, present: np.ndarray) -> None:
        """Raise on class weights that leave nothing to learn, or mean other classes."""
        labels = [self.classes_.tolist()[code] for code in present]
        unknown = [key for key in class_weight if key not in self.classes_]
        if unknown and any(label not in class_weight for label in labels):
            raise ValueError(
                f"class_weight has weights for {unknown}, which are not among the "
                f"classes, {self.classes_.tolist()}."
            )
        values = np.array([class_weight.get(label, 1.0) for label in labels], float)
        if not np.isfinite(values).all() or (values < 0).any() or not values.any():
            raise ValueError(
                f"class_weight={dict(class_weight)!r}: weights have to be finite, not "
                "negative, and above 0 for at least one class that is there."
            )

    def _weigh(self, rows):
        if self.class_weight is not None:
            n_classes = len(self.classes_)
            total = np.bincount(rows.y, weights=rows.weight, minlength=n_classes)
            if isinstance(self.class_weight, Mapping):
                factor = [self.class_weight.get(label, 1.0) for label in self.classes_]
                factor = np.array(factor, dtype=np.float64)
            else:
                present = total > 0
                factor = np.zeros(n_classes)
                factor[present] = total.sum() / (present.sum() * total[present])
            rows.weight = rows.weight * factor[rows.y]
        super()._weigh(rows)

    def _stratifies(self, y):
        return not self.multilabel_

    def _adopt_targets(self):
        self._initialize_criterion()  # it is another one for several labels per image

    def _facts(self):
        return {
            **super()._facts(),
            "classes": self.classes_.tolist(),
            "dtype": self.classes_.dtype.str,
            "multilabel": self.multilabel_,
            "label_dtype": self._label_dtype.str,
        }

    def _adopt(self, facts):
        classes = np.array(facts["classes"], dtype=facts["dtype"])
        same = self._begun and np.array_equal(classes, self.classes_)
        if self._begun and not (same and facts["multilabel"] == self.multilabel_):
            several = " (several for an image)"
            raise ValueError(
                f"The weights were trained on the labels {classes.tolist()}"
                f"{several * facts['multilabel']}, and this net on "
                f"{self.classes_.tolist()}{several * self.multilabel_}."
            )
        super()._adopt(facts)
        self.classes_inferred_ = classes
        self.multilabel_ = facts["multilabel"]
        self._label_dtype = np.dtype(facts["label_dtype"])
        self._initialize_criterion()

    def _n_outputs(self):
        if "classes_inferred_" not in vars(self):
            if self.classes is None:
                raise ValueError(
                    "initialize() before fit has to know how many classes there are: "
                    "pass them in the parameter classes."
                )
            self.multilabel_ = False
        return len(self.classes_)

    # ----- head and loss

    def _fill_head(self, embeddings, train):
        solution = probe_classes(
            embeddings,
            train.y,
            train.weight,
            train.counts,
            len(self.classes_),
            train.groups,
        )
        fill_head(self.module_.head, *solution)

    def _criterion(self):
        if self.criterion is not None:
            return self.criterion
        return nn.BCEWithLogitsLoss if self.multilabel_ else nn.CrossEntropyLoss

    def _adapt_criterion(self, kwargs, accepted):
        if self.label_smoothing and "label_smoothing" in accepted:
            kwargs.setdefault("label_smoothing", self.label_smoothing)
        elif self.label_smoothing and not self.multilabel_:
            raise ValueError(
                f"label_smoothing={self.label_smoothing} has no effect with "
                f"criterion={self.criterion!r}, which has no such parameter."
            )

    def _row_losses(self, y_pred, y_true, training):
        criterion = self.criterion_
        if isinstance(criterion, nn.CrossEntropyLoss) and not training:
            # What is watched is the plain loss: smoothing is a means of training.
            return functional.cross_entropy(
                y_pred, y_true, weight=criterion.weight, reduction="none"
            )
        if isinstance(criterion, nn.NLLLoss):
            y_pred = y_pred.log_softmax(-1)
        if self.multilabel_ and training and self.label_smoothing:
            smooth = self.label_smoothing
            y_true = y_true * (1 - smooth) + smooth / 2
        return criterion(y_pred, y_true)

    @property
    def _score_callbacks(self):
        return [("valid_acc", PassthroughScoring("valid_acc", lower_is_better=False))]

    def validation_step(self, batch, **fit_params):
        """Return loss, outputs and accuracy of a batch (skorch's hook).

        Parameters
        ----------
        batch : tuple
            Activations and targets.

        **fit_params : dict
            Not used.

        Returns
        -------
        step : dict
            ``loss``, ``y_pred`` and ``acc``.
        """
        step = super().validation_step(batch, **fit_params)
        X, y = batch
        y = y.to(step["y_pred"].device)
        if self.multilabel_:
            hits = ((step["y_pred"] > 0) == (y > 0.5)).float().mean(1)
        else:
            hits = (step["y_pred"].argmax(1) == y).float()
        if isinstance(X, Mapping) and "sample_weight" in X:
            hits = hits * X["sample_weight"].to(hits.device)
        step["acc"] = hits.mean().item()
        return step

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        """Note the accuracy of a validation batch in the history."""
        if not training and "acc" in kwargs:
            self.history.record_batch("valid_acc", kwargs["acc"])

    def _measures(self, step):
        return {**super()._measures(step), "valid_acc": step["acc"]}

    def validation_score(self, measures):
        """Return what early stopping compares: accuracy, then loss.

        Parameters
        ----------
        measures : dict
            The measures of an epoch, as the history has them.

        Returns
        -------
        score : tuple of float
            Compared from left to right; larger is better.
        """
        return measures["valid_acc"], -measures["valid_loss"]

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
