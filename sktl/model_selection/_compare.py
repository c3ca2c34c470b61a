"""``compare``: baselines and both strategies, on the same splits of the same images."""

from __future__ import annotations

import time
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from tqdm.auto import tqdm

from sktl.exceptions import DuplicateImagesWarning
from sktl.images import ImageRows
from sktl.model_selection._contenders import BASELINES, contenders
from sktl.model_selection._duplicates import duplicate_groups
from sktl.model_selection._leakage import (
    describe_contradictions,
    describe_leakage,
    joined_groups,
)
from sktl.model_selection._question import (
    check_folds,
    groups_of,
    make_splits,
    name_of_score,
    read_targets,
)
from sktl.model_selection._run import Run
from sktl.model_selection._trial import Rules
from sktl.model_selection._weights_by_name import check_names

_POSITIVE = Interval(Integral, 1, None, closed="left")


@validate_params(
    {
        "backbones": ["array-like", str],
        "heads": ["array-like", str, None],
        "unfreeze": ["array-like", None],
        "baselines": ["array-like", None],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "weights": [dict, str, None],
        "fine_tuning": [dict, None],
        "n_repeats": [_POSITIVE],
        "inner_cv": [Interval(Integral, 2, None, closed="left")],
        "duplicates": [StrOptions({"warn", "group", "ignore"})],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "scoring": [str, callable, None],
        "refit": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def compare(
    X,
    y,
    *,
    backbones=("pocket",),
    heads=None,
    unfreeze=(1,),
    baselines=BASELINES,
    task="auto",
    weights="default",
    image_size=None,
    image_shape=None,
    fine_tuning=None,
    cv=5,
    n_repeats=1,
    inner_cv=3,
    groups=None,
    duplicates="warn",
    scoring=None,
    confidence=0.95,
    refit=True,
    cache="session",
    device="auto",
    n_jobs=None,
    random_state=0,
    verbose=0,
):
    """Compare both strategies and honest baselines on your images.

    Can this be learned, how well, by which route and at what cost? Every contender is
    fitted and judged on the same splits; parameters of heads are chosen inside each
    training part, so that no score has seen its test images.

    Parameters
    ----------
    X : array-like of images
        Arrays, paths, encoded bytes, PIL images or flattened rows.

    y : array-like of shape (n_samples,)
        Classes or numbers.

    backbones : sequence, default=("pocket",)
        Names of networks, modules, or ``PretrainedFeatures`` objects, which are
        taken as they are.

    heads : sequence or None, default=None
        What is trained on frozen features: names, estimators, or pairs of an
        estimator and its grid, as for :func:`strategy_grid`. None is
        ``("logistic", "svc")`` for classes and ``("ridge", "svr")`` for numbers; of
        these, kernel machines are left out above 5000 images.

    unfreeze : sequence or None, default=(1,)
        Values of ``unfreeze``, each a fine-tuned contender for each backbone. None or
        an empty sequence leaves this strategy out.

    baselines : sequence of str or None
        What any network has to beat; by default all of

        - ``"simplest"``: the most frequent class, or the mean;
        - ``"pixels"``: a head on 16 x 16 pixels;
        - ``"colors"``: a head on the histogram of colours;
        - ``"untrained"``: a head on the first backbone with random weights.

    task : {"auto", "classification", "regression"}, default="auto"
        What y holds; ``"auto"`` takes floats that are not whole for numbers.

    weights : str, path, None or dict, default="default"
        Weights of the networks; a dict gives them by the name of the backbone, and
        backbones that it does not name get ``"default"``.

    image_size, image_shape, cache, device
        Passed to every estimator that has such a parameter.

    fine_tuning : dict or None, default=None
        More parameters of the fine-tuned estimator. A list or tuple of values is a
        choice, made by an inner cross-validation: it multiplies the time.

    cv : int, splitter or iterable, default=5
        Folds: shuffled, with the classes in proportion.

    n_repeats : int, default=1
        How often to divide the images into folds anew, when ``cv`` is an int.

    inner_cv : int, default=3
        Folds within a training part, on which parameters are chosen.

    groups : array-like of shape (n_samples,), default=None
        Images of one group (one patient, one place, one film) stay on one side of
        every split, outer and inner.

    duplicates : {"warn", "group", "ignore"}, default="warn"
        What to do about copies and near-copies, see :func:`duplicate_groups`: warn
        when they stand on both sides of a split, keep them together, or do not look.

    scoring : str, callable or None, default=None
        The score. None is accuracy, or R² for numbers.

    confidence : float, default=0.95
        Of the intervals.

    refit : bool, default=True
        Whether to fit the best contender to all images.

    n_jobs : int or None, default=None
        Processes among which splits are divided. Networks are run in this process;
        fine-tuning on a GPU is never divided.

    random_state : int, RandomState instance or None, default=0
        Shuffles folds, draws untrained weights and seeds every contender.

    verbose : int, default=0
        Show a progress bar when above 0.

    Returns
    -------
    comparison : Comparison
        A table that prints itself, scores, predictions and the best model.

    Raises
    ------
    ValueError
        Before any network runs: if there is one class only, if ``cv`` asks for more
        folds than there are images of a class, or if lengths differ.

    Warns
    -----
    DuplicateImagesWarning
        If copies stand on both sides of a split, or have different labels.

    See Also
    --------
    rank_backbones : Many backbones, one cheap probe.
    strategy_grid : The same contenders, for a search of scikit-learn.

    Notes
    -----
    Each image goes through each network once, before the splits: frozen features are
    a function of the image alone, so nothing leaks. Fine-tuning runs once for each
    split and takes most of the time.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl.model_selection import compare
    >>> X, y = load_digits(n_class=4, return_X_y=True)
    >>> found = compare(
    ...     X[:120], y[:120], backbones=["lenet5"], heads=["logistic"], unfreeze=None,
    ...     baselines=["simplest"], duplicates="ignore", cv=3,
    ... )
    >>> found.best_name_
    'lenet5 + logistic'
    >>> [row["name"] for row in found.table]
    ['lenet5 + logistic', 'most frequent class']
    >>> found.best_estimator_.predict(X[120:124]), y[120:124]
    (array([1, 0, 0, 2]), array([1, 0, 0, 2]))
    """
    started = time.perf_counter()
    y, task = read_targets(X, y, task)
    groups = groups_of(groups, len(y))
    if isinstance(cv, Integral):
        check_folds(y, groups, task, cv)
    seed = int(check_random_state(random_state).randint(2**31 - 1000))
    backbones = [backbones] if isinstance(backbones, str) else list(backbones)
    if not backbones:
        raise ValueError("backbones is empty. Name at least one network.")
    check_names(weights, backbones)
    shared = {
        "image_size": image_size,
        "image_shape": image_shape,
        "cache": cache,
        "device": device,
    }
    field = contenders(
        task,
        len(y),
        seed,
        backbones=backbones,
        heads=[heads] if isinstance(heads, str) else heads,
        unfreeze=unfreeze,
        baselines=() if baselines is None else baselines,
        weights=weights,
        fine_tuning=fine_tuning,
        shared=shared,
    )
    copies = None
    if duplicates != "ignore":
        copies = duplicate_groups(X, image_shape=image_shape)
    if duplicates == "group":
        groups = joined_groups(groups, copies)
    splits = make_splits(y, groups, task, cv, n_repeats, seed)
    rules = Rules(
        task=task,
        classes=np.unique(y) if task == "classification" else None,
        scorer=check_scoring(field[0].model, scoring),
        inner_cv=inner_cv,
        seed=seed,
    )
    run = Run(X, y, groups, splits, rules, n_jobs, device)
    with tqdm(
        total=len(field) * len(splits), disable=verbose < 1, desc="compare"
    ) as bar:
        for contender in field:
            bar.set_postfix_str(contender.name)
            for _ in run.trials_of(contender):
                bar.update()
    told = [] if copies is None else _tell_of_copies(copies, splits, y, X, image_shape)
    return run.finish(
        scoring=name_of_score(scoring, task),
        confidence=confidence,
        refit=refit,
        copies=copies,
        told=told,
        started=started,
    )


def _tell_of_copies(copies, splits, y, X, image_shape) -> list[str]:
    """Warn of copies that flatter the score, or contradict each other."""
    rows = ImageRows.of(X, image_shape=image_shape)
    told = [describe_leakage(copies, splits, rows)]
    told += [describe_contradictions(copies, y, rows)]
    told = [message for message in told if message is not None]
    for message in told:
        warnings.warn(message, DuplicateImagesWarning, stacklevel=3)
    return told
