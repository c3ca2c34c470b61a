"""The probe: a linear model on embeddings that chooses its own penalty.

With fewer images than features, the usual ``C=1`` separates the classes without error,
is far too confident, and leaves fine-tuning nothing to learn
(benchmarks/study_finetune_defaults.md). ``StandardScaler`` inflates features that
hardly vary, which costs up to 5 points, and one scale for all features loses elsewhere.
The probe scales halfway between the two (benchmarks/study_head.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import ClassVar

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit, softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MultiOutputMixin,
    RegressorMixin,
    _fit_context,
)
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.utils import Tags, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sktl._blas import one_blas_thread
from sktl.heads._class_weights import check_class_weight, class_factors

# From the strongest penalty to the weakest: the C of a logistic regression, and
# 1/alpha of a ridge regression.
INVERSE_PENALTIES = tuple(10.0**power for power in range(-5, 2))
# The best penalty hardly depends on the number of rows, so a part of them is enough.
N_FOLDS, N_ROWS = 3, 1000

Layer = tuple[np.ndarray, np.ndarray]


class ProbeClassifier(ClassifierMixin, BaseEstimator):
    """Logistic regression for embeddings, with the penalty that suits the data.

    The head to begin with: ``make_pipeline(PretrainedFeatures(), ProbeClassifier())``.
    It scales the features and chooses its penalty by cross-validation, so that it
    needs no scaler and no search, from one label per class to thousands.

    Parameters
    ----------
    class_weight : dict, "balanced" or None, default=None
        Weights of classes in the loss, as in scikit-learn.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; for an indicator matrix, the numbers of its columns.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights in the units of ``X``; one row for two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Biases.
    multilabel_ : bool
        Whether y was an indicator matrix of several labels per image.
    n_features_in_ : int
        Features seen by ``fit``.

    See Also
    --------
    ProbeRegressor : The same for numbers.
    PretrainedFeatures : Turns images into embeddings.

    Notes
    -----
    Features are centred. Each is divided by the root of its variance plus the mean
    variance of all, halfway between no scaling and ``StandardScaler``. Three folds
    then try penalties from strong to weak until two in a row were no better. They see
    at most 1000 rows, so a fit to 2,000 rows of 1,280 features in 40 classes takes
    1.6 s (benchmarks/study_head.py). Rows of one group stay together; without groups,
    copies of a row do. One label per class leaves nothing to hold out, and C is then 1.
    There is no random draw.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import PretrainedFeatures, ProbeClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(PretrainedFeatures("lenet5"), ProbeClassifier())
    >>> bool(model.fit(X[:100], y[:100]).score(X[100:400], y[100:400]) > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    __metadata_request__fit: ClassVar[dict] = {"groups": True}

    def __init__(self, *, class_weight=None):
        self.class_weight = class_weight

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, groups=None) -> ProbeClassifier:
        """Choose the penalty and solve.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or an indicator matrix.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights in the loss.
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are held out together when the penalty is chosen.

        Returns
        -------
        self : ProbeClassifier
        """
        X, y = validate_data(self, X, y, multi_output=True, dtype=np.float64)
        y = y.toarray() if issparse(y) else y
        check_classification_targets(y)
        self.multilabel_ = type_of_target(y) == "multilabel-indicator"
        weight, groups = _checked(X, sample_weight, groups)
        if self.multilabel_:
            self.classes_, codes = np.arange(y.shape[1]), y
        else:
            y = column_or_1d(y, warn=True)
            self.classes_, codes = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(
                    "ProbeClassifier needs samples of at least 2 classes, but y has "
                    f"only one class: {self.classes_[0]!r}."
                )
        if self.class_weight is not None:
            check_class_weight(self.class_weight, self.classes_, codes[weight > 0])
            factors = class_factors(self.class_weight, self.classes_, codes, weight)
            weight = weight * factors[codes]
        coef, intercept = solve_classes(X, codes, len(self.classes_), weight, groups)
        if len(self.classes_) == 2 and not self.multilabel_:
            coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
        self.coef_, self.intercept_ = coef, intercept
        return self

    def decision_function(self, X) -> np.ndarray:
        """Return a score for each class; one score if there are two.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Positive, or largest, for the predicted class.
        """
        scores = _linear(self, X)
        return scores.ravel() if scores.shape[1] == 1 else scores

    def predict_proba(self, X) -> np.ndarray:
        """Return the probability of each class, or of each label.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return expit(scores) if self.multilabel_ else softmax(scores, axis=1)

    def predict(self, X) -> np.ndarray:
        """Return the label of each row, or an indicator matrix.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_labels)
            In the form of y.
        """
        scores = self.decision_function(X)
        if self.multilabel_:
            return (scores > 0).astype(int)
        codes = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[codes]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.class_weight is None
        return tags


class ProbeRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression for embeddings, with the penalty that suits the data.

    The counterpart of :class:`ProbeClassifier` for one or several numbers per image.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Weights in the units of ``X``.
    intercept_ : float or ndarray of shape (n_targets,)
        Biases.
    n_features_in_ : int
        Features seen by ``fit``.

    See Also
    --------
    ProbeClassifier : The same for labels.

    Notes
    -----
    Features are scaled as in :class:`ProbeClassifier`. The penalty is chosen by leaving
    out one row at a time, by an exact formula, or whole groups if there are any.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import PretrainedFeatures, ProbeRegressor
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(PretrainedFeatures("lenet5"), ProbeRegressor())
    >>> bool(model.fit(X[:100], y[:100]).score(X[100:400], y[100:400]) > 0.7)
    True
    """

    _parameter_constraints: ClassVar[dict] = {}
    __metadata_request__fit: ClassVar[dict] = {"groups": True}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, groups=None) -> ProbeRegressor:
        """Choose the penalty and solve.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights in the loss.
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are held out together when the penalty is chosen.

        Returns
        -------
        self : ProbeRegressor
        """
        X, y = validate_data(
            self, X, y, multi_output=True, y_numeric=True, dtype=np.float64
        )
        weight, groups = _checked(X, sample_weight, groups)
        numbers = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        self.coef_, self.intercept_ = solve_numbers(X, numbers, weight, groups)
        if y.ndim == 1:
            self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        return self

    def predict(self, X) -> np.ndarray:
        """Return the numbers of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        Returns
        -------
        numbers : ndarray of shape (n_samples,) or (n_samples, n_targets)
            In the form of y.
        """
        return _linear(self, X)


@one_blas_thread()
def solve_classes(
    X: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    weight: np.ndarray,
    groups: np.ndarray | None = None,
) -> Layer:
    """Return weights and biases of the logistic regression of a probe.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Embeddings.
    y : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Class numbers, or indicators for several labels per row.
    n_classes : int
        How many classes there are. One without rows gets a low, constant score.
    weight : ndarray of shape (n_samples,)
        Weights of rows.
    groups : ndarray of shape (n_samples,), default=None
        Rows of one group are held out together.

    Returns
    -------
    coef, intercept : ndarray of shape (n_classes, n_features) and (n_classes,)
        In the units of ``X``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.heads import solve_classes
    >>> X, y = np.array([[0.0], [1.0], [8.0], [9.0]]), np.array([0, 0, 1, 1])
    >>> coef, intercept = solve_classes(X, y, 2, np.ones(4))
    >>> (X @ coef.T + intercept).argmax(axis=1)
    array([0, 0, 1, 1])
    """
    rows = _Rows(X, y, weight, groups)
    if y.ndim == 1:
        return rows.unscaled(*_logistic(rows, rows.y, n_classes))
    columns = [_logistic(rows, rows.y[:, j].astype(int), 2) for j in range(n_classes)]
    # Two opposite logits become the one logit that a sigmoid wants.
    return rows.unscaled(
        np.stack([c[1] - c[0] for c, _ in columns]),
        np.stack([b[1] - b[0] for _, b in columns]),
    )


@one_blas_thread()
def solve_numbers(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray, groups: np.ndarray | None = None
) -> Layer:
    """Return weights and biases of the ridge regression of a probe.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Embeddings.
    y : ndarray of shape (n_samples, n_targets)
        Numbers.
    weight, groups : ndarray of shape (n_samples,)
        As for :func:`solve_classes`.

    Returns
    -------
    coef, intercept : ndarray of shape (n_targets, n_features) and (n_targets,)
        In the units of ``X``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.heads import solve_numbers
    >>> X = np.arange(5.0)[:, None]
    >>> coef, intercept = solve_numbers(X, 2 * X + 1, np.ones(5))
    >>> bool(abs(coef - 2) < 0.1)
    True
    """
    rows = _Rows(X, y, weight, groups)
    Z, y, weight = rows.Z, rows.y, rows.weight
    folds = [] if groups is None else list(rows.folds(np.zeros(len(y), dtype=int)))

    def error(alpha: float) -> float:
        total = 0.0
        for fitted, held in folds:
            ridge = Ridge(alpha=alpha).fit(Z[fitted], y[fitted], weight[fitted])
            missed = y[held] - ridge.predict(Z[held]).reshape(len(held), -1)
            total += float(weight[held] @ (missed**2).sum(axis=1))
        return total

    alpha, alphas = 1.0, [1 / freedom for freedom in INVERSE_PENALTIES]
    if folds:
        alpha = min(alphas, key=error)
    elif len(y) > 1:  # leaves out one row at a time
        some = rows.some
        alpha = RidgeCV(alphas).fit(Z[some], y[some], weight[some]).alpha_
    ridge = Ridge(alpha=alpha).fit(Z, y, weight)
    return rows.unscaled(np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_))


class _Rows:
    """Distinct rows, scaled, in an order that does not depend on that of ``X``.

    A row that occurs k times counts as one of weight k: a bootstrap sample is the same
    as the equivalent weights. Without groups, rows with the same features are a group.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        weight: np.ndarray,
        groups: np.ndarray | None,
    ):
        kept = np.flatnonzero(weight > 0)
        prints = [blake2b(X[i].tobytes(), digest_size=8).digest() for i in kept]
        facts = [np.array(prints), *y[kept].reshape(len(kept), -1).T]
        if groups is not None:
            facts.append(groups[kept])
        codes = [np.unique(fact, return_inverse=True)[1] for fact in facts]
        _, first, same = np.unique(
            np.column_stack(codes), axis=0, return_index=True, return_inverse=True
        )
        total = np.bincount(same.ravel(), weights=weight[kept])
        rows = kept[first]
        Z = X[rows].astype(np.float64, copy=False)
        self.mean = total @ Z / total.sum()
        Z -= self.mean
        variance = np.einsum("i,ij,ij->j", total, Z, Z) / total.sum()
        self.scale = np.sqrt(variance + variance.mean()) if variance.any() else 1.0
        Z /= self.scale
        # Folds deal out the rows along a random line: the last bits of the numbers,
        # which differ between machines, move no more than neighbours on it.
        line = np.random.default_rng(0).normal(size=Z.shape[1])
        order = np.argsort(Z @ line, kind="stable")
        self.Z = Z[order]
        self.y = y[rows][order]
        self.groups = (codes[0][first] if groups is None else groups[rows])[order]
        self.weight = total[order] / total.mean()
        self.some = np.unique(
            np.linspace(0, len(order) - 1, min(len(order), N_ROWS)).astype(int)
        )
        self.turn = None
        if len(self.Z) < self.Z.shape[1]:
            # All rows lie in a space of fewer dimensions. Turned into it, they have
            # the same solution, found several times faster.
            self.turn, corner = np.linalg.qr(self.Z.T)
            self.Z = np.ascontiguousarray(corner.T)

    def unscaled(self, coef: np.ndarray, intercept: np.ndarray) -> Layer:
        """Fold the scaling into a linear layer."""
        if self.turn is not None:
            coef = coef @ self.turn.T
        coef = coef / self.scale
        return coef, intercept - coef @ self.mean

    def folds(self, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield rows to fit and to hold out: classes in proportion, groups whole."""
        counted = self.some
        _, first, group = np.unique(
            self.groups[counted], return_index=True, return_inverse=True
        )
        # Deal out the groups in turn, class by class, in the order of the rows.
        fold = np.empty(len(first), dtype=int)
        fold[np.lexsort((first, y[counted][first]))] = np.arange(len(first)) % N_FOLDS
        for number in range(N_FOLDS):
            out = (fold == number)[group.ravel()]
            if out.any() and not out.all():
                yield counted[~out], counted[out]


def _logistic(rows: _Rows, y: np.ndarray, n_classes: int) -> Layer:
    """Solve a logistic regression; return one row of weights for each class."""
    present = np.unique(y)
    coef = np.zeros((n_classes, rows.Z.shape[1]))
    # A class without rows: as unlikely as one row among n would make it.
    intercept = np.full(n_classes, -np.log(len(y) + 1.0))
    if len(present) == 1:
        intercept[present] = 0.0
        return coef, intercept
    solver = LogisticRegression(C=_best_C(rows, y), max_iter=1000)
    solver.fit(rows.Z, y, sample_weight=rows.weight)
    if len(present) == 2:  # scikit-learn solves one logit for two classes
        half, bias = solver.coef_[0] / 2, solver.intercept_[0] / 2
        coef[present] = np.stack([-half, half])
        intercept[present] = [-bias, bias]
    else:
        coef[present] = solver.coef_
        intercept[present] = solver.intercept_
    return coef, intercept


def _best_C(rows: _Rows, y: np.ndarray) -> float:  # noqa: N802
    """Return the C whose probabilities fit held-out rows best.

    LogisticRegressionCV would solve the weakest penalties too, which take most of the
    time, and refuses folds that lack a class.
    """
    Z, weight, parts = rows.Z, rows.weight, []
    for fitted, held in rows.folds(y):
        known = np.unique(y[fitted])
        held = held[np.isin(y[held], known)]
        if len(known) > 1 and len(held):
            # From strong to weak penalties, each solution is the start of the next.
            solver = LogisticRegression(warm_start=True, tol=1e-3, max_iter=1000)
            parts.append((solver, fitted, held, np.searchsorted(known, y[held])))
    if not parts:
        return 1.0
    losses: list[float] = []
    for C in INVERSE_PENALTIES:
        losses.append(0.0)
        for solver, fitted, held, codes in parts:
            solver.set_params(C=C)
            solver.fit(Z[fitted], y[fitted], sample_weight=weight[fitted])
            likely = solver.predict_log_proba(Z[held])[np.arange(len(held)), codes]
            losses[-1] -= float(weight[held] @ likely)
        if len(losses) - 1 - int(np.argmin(losses)) == 2:
            break  # two weaker penalties in a row were no better
    return INVERSE_PENALTIES[int(np.argmin(losses))]


def _checked(
    X: np.ndarray, sample_weight, groups
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the weights of rows, and the numbers of their groups."""
    check_consistent_length(X, groups)
    weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    if not weight.any():
        raise ValueError(
            "sample_weight is 0 for all rows. Leave one row to learn from."
        )
    if groups is None:
        return weight, None
    try:
        return weight, np.unique(column_or_1d(groups), return_inverse=True)[1]
    except TypeError as error:  # groups that cannot be sorted
        kinds = sorted({type(group).__name__ for group in groups})
        raise ValueError(
            f"groups mixes values of several types, or lacks some: {', '.join(kinds)}. "
            "Pass values of one type, with none missing."
        ) from error


def _linear(estimator: BaseEstimator, X) -> np.ndarray:
    """Return what the linear layer of a fitted estimator makes of rows."""
    check_is_fitted(estimator)
    X = validate_data(estimator, X, reset=False, dtype=np.float64)
    return X @ estimator.coef_.T + estimator.intercept_
