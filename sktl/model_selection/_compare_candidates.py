"""``compare``: baselines and both strategies, on the same splits of the same images."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from itertools import groupby
from numbers import Integral, Real
from operator import attrgetter
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.model_selection import check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from tqdm.auto import tqdm

from sktl._validate_params import validate_params
from sktl.engine import resolve_device
from sktl.exceptions import DuplicateImagesWarning
from sktl.images import ImageRows
from sktl.model_selection._candidates import BASELINES, Candidate, make_candidates
from sktl.model_selection._comparison import Comparison
from sktl.model_selection._cross_validation import (
    NestedCrossValidation,
    Split,
    SplitResult,
    make_splits,
    read_targets,
)
from sktl.model_selection._duplicates import (
    DuplicatePair,
    describe_contradictions,
    describe_leakage,
    duplicate_pairs,
    groups_of,
    join_groups,
)
from sktl.model_selection._extractors import extract, make_extractors
from sktl.model_selection._more_labels import measure_label_curve
from sktl.model_selection._scores import read_scoring


@validate_params(
    {
        "task": [StrOptions({"auto", "classification", "regression"})],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "inner_cv": [Interval(Integral, 2, None, closed="left")],
        "duplicates": [StrOptions({"warn", "group", "ignore"})],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
    }
)
def compare(
    X,
    y,
    *,
    backbones=("efficientnet_lite0", "pocket"),
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
    label_curve=True,
    refit=True,
    cache="session",
    device="auto",
    n_jobs=None,
    random_state=0,
    verbose=0,
) -> Comparison:
    """Compare both strategies and honest baselines on your images.

    Can this be learned, how well, by which strategy and at what cost? All candidates
    are fitted and scored on the same splits. Parameters of heads are chosen inside
    each training part, so no choice has seen the test images.

    Parameters
    ----------
    X : array-like of images
        Arrays, paths, encoded bytes, PIL images or flattened rows.
    y : array-like of shape (n_samples,)
        Classes or numbers.
    backbones : sequence, default=("efficientnet_lite0", "pocket")
        Names of networks, modules, or ``PretrainedFeatures`` objects, which keep all
        their settings.
    heads : sequence or None, default=None
        What is trained on frozen features, as for :func:`strategy_grid`. None leaves
        the kernel machine out above 5000 images.
    unfreeze : sequence or None, default=(1,)
        Values of ``unfreeze``: one fine-tuned candidate for each value and backbone.
        None or an empty sequence leaves this strategy out.
    baselines : sequence of str or None
        What a network has to beat; by default all of

        - ``"simplest"``: the most frequent class, or the mean;
        - ``"pixels"``: a head on 16 x 16 pixels;
        - ``"colors"``: a head on the histogram of colours;
        - ``"untrained"``: a head on the first backbone with random weights, unless
          it has random weights anyway.

    task : {"auto", "classification", "regression"}, default="auto"
        What y holds; ``"auto"`` reads floats with fractions as numbers.
    weights, image_size, image_shape, cache, device
        Passed to every estimator. A dict gives weights by the name of the backbone;
        backbones it does not name get ``"default"``.
    fine_tuning : dict or None, default=None
        More parameters of the fine-tuned estimator. An inner cross-validation chooses
        from a list or tuple of values, which multiplies the time.
    cv : int, splitter or iterable, default=5
        An int means shuffled folds, stratified by class.
    n_repeats : int, default=1
        How many times to draw folds, if ``cv`` is an int.
    inner_cv : int, default=3
        Folds of a training part on which parameters are chosen.
    groups : array-like of shape (n_samples,), default=None
        Images of one group (a patient, a place, a film) stay on one side of every
        split, outer and inner.
    duplicates : {"warn", "group", "ignore"}, default="warn"
        What to do about copies and near-copies (see :func:`duplicate_groups`): warn
        if they are on both sides of a split, keep them together, or skip the search.
    scoring : str, callable or None, default=None
        The score. None is accuracy, or R² for numbers. ``"f1"``, ``"precision"``,
        ``"recall"`` and ``"jaccard"`` are those of class 1 if the classes are 0 and 1
        (or -1 and 1), and else the mean over all classes (``"f1_macro"``, ...).
    confidence : float, default=0.95
        The confidence of the intervals.
    label_curve : bool, default=True
        Whether to find out if more labels would help: the best head on frozen features
        is fitted again to a half, a quarter and an eighth of each training part.
    refit : bool, default=True
        Whether to fit the best candidate to all images.
    n_jobs : int or None, default=None
        Processes that share the splits. Images are embedded in this process, and so
        is all fine-tuning on a GPU.
    random_state : int, RandomState instance or None, default=0
        Shuffles folds, draws untrained weights and seeds every candidate.
    verbose : int, default=0
        Show a progress bar when above 0.

    Returns
    -------
    comparison : Comparison
        A table with advice, scores, predictions and the best model.

    Notes
    -----
    Each image goes through each network once, whatever the splits, because frozen
    features depend on the image alone. Fine-tuning runs once for each split and takes
    most of the time. :func:`rank_backbones` compares many backbones by a cheap probe.

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
    y, groups, task = read_targets(X, y, groups, task)
    score_name, scorer = read_scoring(scoring, y, task)
    seed = int(check_random_state(random_state).randint(2**31 - 1000))
    if not isinstance(cv, Integral):
        cv = check_cv(cv)  # keeps the splits of an iterator
    splits = make_splits(y, groups, task, cv, n_repeats, seed)
    candidates = make_candidates(
        task,
        len(y),
        seed,
        extractors=make_extractors(
            backbones,
            weights,
            image_size=image_size,
            image_shape=image_shape,
            cache=cache,
            device=device,
            random_state=seed,
        ),
        heads=[heads] if isinstance(heads, str) else heads,
        unfreeze=unfreeze,
        baselines=() if baselines is None else baselines,
        fine_tuning=fine_tuning,
        image_shape=image_shape,
    )
    pairs: list[DuplicatePair] = []
    copies, messages = None, []
    if duplicates != "ignore":
        pairs = duplicate_pairs(X, image_shape=image_shape)
        copies = groups_of(pairs, len(y))
        if duplicates == "group":
            groups = join_groups(groups, copies)
            splits = make_splits(y, groups, task, cv, n_repeats, seed)
        images = ImageRows.of(X, image_shape=image_shape)
        messages = describe_leakage(pairs, splits, images)
        messages += describe_contradictions(pairs, y, images)
    nested = NestedCrossValidation(
        task=task,
        classes=np.unique(y) if task == "classification" else None,
        scorer=scorer,
        inner_cv=inner_cv,
        seed=seed,
    )

    def fit(candidate: Candidate, given, some: list[Split]) -> Iterator[SplitResult]:
        """Yield the results of a candidate on splits, in their order."""
        tuned = candidate.strategy == "fine-tuned"
        on_gpu = tuned and resolve_device(device) != "cpu"
        return Parallel(1 if on_gpu else n_jobs, return_as="generator")(
            delayed(nested.on_split)(
                candidate.model, candidate.grid, given, y, groups, split
            )
            for split in some
        )

    leaders: dict[str, tuple[Candidate, Any]] = {}  # of each strategy, with features
    n_fits = len(candidates) * len(splits)
    with tqdm(total=n_fits, disable=verbose < 1, desc="compare") as bar:
        for transformer, sharing in groupby(candidates, attrgetter("features")):
            features, extraction = X, None
            if transformer is not None:
                features, extraction = extract(transformer, X)
            for candidate in sharing:
                bar.set_postfix_str(candidate.name)
                candidate.extraction = extraction
                for result in fit(candidate, features, splits):
                    candidate.results.append(result)
                    bar.update()
                leader, _ = leaders.get(candidate.strategy, (candidate, None))
                if candidate is leader or candidate.rank > leader.rank:
                    leaders[candidate.strategy] = candidate, features

    for message in messages:
        warnings.warn(message, DuplicateImagesWarning, stacklevel=3)
    candidates.sort(key=attrgetter("rank"), reverse=True)
    best = candidates[0]
    comparison = Comparison(
        y_=y,
        classes_=nested.classes,
        splits_=splits,
        tested_=np.isin(
            np.arange(len(y)), np.concatenate([test for _, test in splits])
        ),
        duplicate_pairs_=pairs,
        duplicate_groups_=copies,
        best_name_=best.name,
        warnings_=messages,
        scoring=score_name,
        task=task,
        confidence=confidence,
        grouped_=groups is not None and len(np.unique(groups)) < len(y),
    )
    for candidate in candidates:
        name = candidate.name
        comparison.scores_[name] = candidate.scores
        comparison.predictions_[name] = candidate.held_out(
            "predictions", splits, np.zeros_like(y)
        )
        given = candidate.results[0].probabilities
        if given is not None:
            comparison.probabilities_[name] = candidate.held_out(
                "probabilities", splits, np.full((len(y), given.shape[1]), np.nan)
            )
        comparison.warnings_ += candidate.warnings()
    for candidate in candidates:
        name = candidate.name
        row = candidate.row(
            comparison.interval(name), comparison.difference(name, best.name)
        )
        comparison.table.append(row)
        comparison.estimators_[name] = candidate.estimator(row["params"])
    if label_curve and "frozen" in leaders:
        leader, features = leaders["frozen"]
        comparison.label_curve_ = measure_label_curve(
            leader,
            lambda some: list(fit(leader, features, some)),
            y,
            splits,
            groups if comparison.grouped_ else None,
            task=task,
            scoring=score_name,
            confidence=confidence,
        )
    if refit:
        _, features = leaders[best.strategy]
        model, params = nested.fit(best.model, best.grid, features, y, groups)
        if best.extraction is not None:
            # Fitted steps make a fitted pipeline.
            model = Pipeline([("features", best.extraction.transformer), *model.steps])
        comparison.best_estimator_, comparison.best_params_ = model, params
    comparison.seconds_ = time.perf_counter() - started
    return comparison
