"""``AugmentedEstimator``: frozen features of several views of each training image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context, clone
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils._metadata_requests import _routing_enabled
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_method_params,
    _num_samples,
    check_is_fitted,
)

from sktl.exceptions import DataConversionWarning
from sktl.heads import ProbeClassifier, ProbeRegressor
from sktl.images import ImageRows, Views, is_flat, variation_of


def _estimator_has(name: str) -> Callable[[AugmentedEstimator], bool]:
    """Return a check whether the wrapped estimator has a method."""
    return lambda self: hasattr(getattr(self, "estimator_", self.estimator), name)


def _on_plain_images(name: str, what: str):
    """Return a method that hands images to the fitted estimator as they are."""

    def method(self, X, **params):
        check_is_fitted(self)
        return getattr(self.estimator_, name)(X, **params)

    method.__name__ = name
    method.__doc__ = f"Return {what} of images, which are not varied."
    return available_if(_estimator_has(name))(method)


class AugmentedEstimator(MetaEstimatorMixin, BaseEstimator):
    """Fit an estimator to several views of each training image.

    For heads on frozen features: ``fit`` hands the estimator each image and random
    variations of it as rows of their own, with the image's target. Everything else
    sees images as they are. Each view is embedded once and kept, like the image
    itself, so the folds and candidates of a search share it.

    Parameters
    ----------
    estimator : estimator
        What is fitted: usually a pipeline of :class:`~sktl.PretrainedFeatures` and a
        head. Its first step has to read images.
    augment : {"none", "light", "strong"}, dict or callable, default="light"
        How views differ from the image, as in :class:`~sktl.FineTunedClassifier`. With
        a callable nothing is kept, not even the embeddings of the images themselves.
    n_views : int, default=4
        Rows for each image: the image itself and ``n_views - 1`` variations of it. Rows
        of a table that are not flattened pictures have no views, and are used once.
    random_state : int, RandomState instance or None, default=None
        Seed of the variations. ``None`` draws the same ones in each fit.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    seed_ : int or None
        Seed of the variations that were drawn; None if nothing was varied.
    classes_ : ndarray of shape (n_classes,)
        The labels, if the estimator is a classifier.
    n_features_in_ : int
        Columns of X, when X is a table.
    feature_names_in_ : ndarray of str
        Names of the columns of X, when X is a data frame.

    See Also
    --------
    PretrainedFeatures : Embeddings of the frozen network.
    FineTunedClassifier : Trains stages of the network, with ``augment`` of its own.

    Notes
    -----
    ``fit`` sends ``n_views`` times as many images through the network as a fit without
    views, and trains the head on as many more rows; predicting costs the same. The
    losses of most heads add up over rows, so a given ``C`` penalises less. Gains are
    small where they were measured, and some are losses (see the user guide): let a
    search choose between ``n_views=1`` and more. Other arguments of ``fit`` with one
    value for each image, such as ``sample_weight``, are repeated.

    A search goes around this estimator: it then divides images, not views. Inside,
    :class:`ProbeClassifier` holds out all views of an image together. Any other
    cross-validation by the head itself (``LogisticRegressionCV``) sees views of an
    image on both sides. Views of an image stand side by side, so the default folds,
    which take rows in order, split the views of at most one image per class and fold.
    A shuffled split, or the leave-one-out of ``RidgeCV``, splits nearly all of them and
    tends to choose too weak a penalty.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import AugmentedEstimator, PretrainedFeatures
    >>> X, y = load_digits(return_X_y=True)
    >>> head = make_pipeline(PretrainedFeatures("lenet5"), LogisticRegression())
    >>> model = AugmentedEstimator(head, augment={"shift": 0.1}, random_state=0)
    >>> model.fit(X[:100], y[:100]).score(X[100:400], y[100:400]) > 0.9
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"])],
        "augment": [StrOptions({"none", "light", "strong"}), Mapping, callable],
        "n_views": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator, *, augment="light", n_views=4, random_state=None):
        self.estimator = estimator
        self.augment = augment
        self.n_views = n_views
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **params) -> AugmentedEstimator:
        """Fit the estimator to views of the images.

        Parameters
        ----------
        X : array-like of images
            As for the estimator.
        y : array-like, default=None
            The targets.
        **params : dict
            More arguments for ``fit`` of the estimator, such as
            ``logisticregression__sample_weight``.

        Returns
        -------
        self : AugmentedEstimator
            The fitted estimator.
        """
        X, y = indexable(X, y)  # checks their lengths
        estimator, routed = clone(self.estimator), _routing_enabled()
        if routed:
            params = process_routing(self, "fit", **params).estimator.fit
        views = self.views_of(X)
        if isinstance(views, Views):
            rows = np.repeat(np.arange(_num_samples(X)), self.n_views)
            y = None if y is None else _safe_indexing(y, rows)
            params = _check_method_params(X, params, indices=rows)
            *_, (name, head) = getattr(estimator, "steps", [("", None)])
            is_probe = isinstance(head, ProbeClassifier | ProbeRegressor)
            if is_probe and head.get_metadata_routing().fit.requests["groups"] is True:
                params.setdefault("groups" if routed else f"{name}__groups", rows)
        self.estimator_ = estimator.fit(views, y, **params)
        self.seed_ = views.seed if isinstance(views, Views) else None
        return self

    def views_of(self, X, seed: int | None = None) -> Any:
        """Return what ``fit`` hands to the estimator: X, to be read as views.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``.
        seed : int or None, default=None
            Seed of the variations; None takes it from ``random_state``.

        Returns
        -------
        views : Views or array-like of images
            X itself if nothing is varied.
        """
        variation = variation_of(self.augment)
        if variation is None or self.n_views == 1:
            return X
        params = self.estimator.get_params()
        if any(name.endswith("unfreeze") for name in params):
            raise ValueError(
                "AugmentedEstimator is for frozen features. Fine-tuned estimators vary "
                "their training images themselves: set their augment and n_views."
            )
        if is_flat(X) and np.ndim(X) == 2:
            row = np.zeros((1, np.shape(X)[1]))
            shapes = (params[name] for name in params if name.endswith("image_shape"))
            with warnings.catch_warnings():  # the estimator will warn
                warnings.simplefilter("ignore", DataConversionWarning)
                if ImageRows.of(row, image_shape=next(shapes, None)).are_strips:
                    return X
        seed = (self.random_state or 0) if seed is None else seed
        if isinstance(seed, np.random.RandomState):
            seed = seed.randint(2**31 - 1)
        return Views(X, variation, self.n_views, int(seed))

    classes_ = property(lambda self: self.estimator_.classes_)
    n_features_in_ = property(lambda self: self.estimator_.n_features_in_)
    feature_names_in_ = property(lambda self: self.estimator_.feature_names_in_)

    predict = _on_plain_images("predict", "the predictions")
    predict_proba = _on_plain_images("predict_proba", "the probabilities of classes")
    predict_log_proba = _on_plain_images(
        "predict_log_proba", "the logarithms of the probabilities"
    )
    decision_function = _on_plain_images("decision_function", "the scores of classes")
    transform = _on_plain_images("transform", "the features")

    @available_if(_estimator_has("transform"))
    def fit_transform(self, X, y=None, **params):
        """Fit the estimator to views, and return the features of the images.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``.
        y : array-like, default=None
            The targets.
        **params : dict
            More arguments for ``fit``.

        Returns
        -------
        features : array of shape (n_samples, n_features)
            One row for each image, which is not varied.
        """
        return self.fit(X, y, **params).transform(X)

    @available_if(_estimator_has("score"))
    def score(self, X, y=None, **params) -> float:
        """Return the score of the fitted estimator on images, which are not varied.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``.
        y : array-like, default=None
            The targets.
        **params : dict
            More arguments for ``score`` of the estimator.

        Returns
        -------
        score : float
            The accuracy of a classifier, R2 of a regressor.
        """
        check_is_fitted(self)
        return self.estimator_.score(X, y, **params)

    @available_if(_estimator_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return names for the features that ``transform`` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            As for the estimator.

        Returns
        -------
        feature_names_out : ndarray of str objects
            The names.
        """
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return where arguments of ``fit`` go, if metadata routing is enabled.

        Returns
        -------
        routing : MetadataRouter
            To ``fit`` of the estimator.
        """
        router = MetadataRouter(owner=type(self).__name__)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(estimator=self.estimator, method_mapping=mapping)

    def __sklearn_tags__(self):
        return get_tags(self.estimator)
