"""The two reports: which sections they have, and what they say about them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sktl._whole_file import whole_file
from sktl.images import ImageRows
from sktl.inspection import Predictions, embeddings_of, turns_of
from sktl.report._page import render
from sktl.report._sections import (
    activation_section,
    data_section,
    map_section,
    ranking_section,
    results_section,
)

# Heads whose scores are sums over features, under their names in a comparison.
_LINEAR_HEADS = ("logistic", "linear_svc", "ProbeClassifier", "LogisticRegression")


def write_comparison_report(
    path: str | os.PathLike,
    comparison,
    X,
    *,
    source: str = "",
    test=None,
    skipped: Sequence[str] = (),
    unreadable: Sequence[str] = (),
    code: str = "",
) -> None:
    """Write a page about a comparison: answer, data, ranking and pictures.

    Parameters
    ----------
    path : str or path-like
        The HTML file to write. It needs no other file, and loads nothing.

    comparison : Comparison
        Of classes, from :func:`sktl.model_selection.compare`.

    X : array-like of images
        The images that were compared on.

    source : str, default=""
        Where the images come from, in words.

    test : (array-like of images, array-like), default=None
        Images and classes that played no part in the comparison.

    skipped, unreadable : sequence of str, default=()
        Files that are not images, and images that cannot be read.

    code : str, default=""
        Python that repeats the comparison.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sktl.model_selection import compare
    >>> from sktl.report import write_comparison_report
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> found = compare(
    ...     X[:60], y[:60], backbones=["lenet5"], heads=["logistic"], unfreeze=None,
    ...     baselines=["simplest"], duplicates="ignore", cv=3,
    ... )
    >>> path = os.path.join(tempfile.mkdtemp(), "report.html")
    >>> write_comparison_report(path, found, X[:60], source="two digits")
    >>> "two digits" in open(path, encoding="utf-8").read()
    True
    """
    if comparison.task != "classification":
        raise ValueError(
            "The report is about classes, and this comparison is about "
            f"{comparison.task}. Print the comparison, or use its plot()."
        )
    images, y = ImageRows.of(X), np.asarray(comparison.y_)
    with whole_file(path) as partial:
        verdict, *reasons = comparison.advice()
        if test is not None and hasattr(comparison, "best_estimator_"):
            right = comparison.best_estimator_.predict(test[0]) == np.asarray(test[1])
            reasons.insert(
                0,
                f"On the {len(right)} images of the test folder, which played no part "
                f"in any choice, its accuracy is {right.mean():.3f}.",
            )
        subject = comparison.best_name_
        tested = np.flatnonzero(comparison.tested_)
        shares = comparison.probabilities_.get(subject)
        predictions = Predictions.of(
            images.take(tested),
            y[tested],
            comparison.predictions_[subject][tested],
            None if shares is None else shares[tested],
            labels=comparison.classes_,
        )
        evidence = None
        name, model = _explained(comparison, X, y)
        if model is not None:
            embeddings = embeddings_of(model, X)
            wrong = tested[predictions.wrong]
            evidence = _evidence(name, model, embeddings, images, y, wrong)
        copies = comparison.duplicate_groups_, comparison.duplicate_pairs_
        test_y = None if test is None else np.asarray(test[1])
        page = {
            "answer": {"verdict": verdict, "reasons": reasons},
            "data": data_section(images, y, *copies, test_y, skipped, unreadable),
            "ranking": ranking_section(comparison),
            "results": results_section(predictions, model=subject),
            "evidence": evidence,
            "labels": comparison.label_curve_,
            "code": code,
        }
        question = "Can these images be classified?"
        partial.write_text(render(question, source, page), encoding="utf-8")


def write_model_report(
    path: str | os.PathLike,
    model,
    X,
    y,
    *,
    source: str = "",
    skipped: Sequence[str] = (),
    unreadable: Sequence[str] = (),
    code: str = "",
) -> float:
    """Write a page about a fitted classifier's predictions for labelled images.

    Parameters
    ----------
    path : str or path-like
        The HTML file to write. It needs no other file, and loads nothing.

    model : fitted classifier
        A pipeline with :class:`~sktl.PretrainedFeatures`, or a
        :class:`~sktl.FineTunedClassifier`.

    X : array-like of images
        Images that the model was not fitted to.

    y : array-like of shape (n_samples,)
        Their classes.

    source, skipped, unreadable, code
        As for :func:`write_comparison_report`.

    Returns
    -------
    accuracy : float
        Share of the images that the model predicts correctly.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import PretrainedFeatures
    >>> from sktl.report import write_model_report
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> model = make_pipeline(
    ...     PretrainedFeatures("lenet5"), LogisticRegression(max_iter=1000)
    ... ).fit(X[:60], y[:60])
    >>> path = os.path.join(tempfile.mkdtemp(), "report.html")
    >>> write_model_report(path, model, X[60:120], y[60:120]) > 0.9
    True
    """
    images, y = ImageRows.of(X), np.asarray(y)
    with whole_file(path) as partial:
        predictions = Predictions.by(model, X, y)
        n, wrong = len(y), predictions.wrong
        accuracy = 1 - len(wrong) / n
        embeddings = embeddings_of(model, X)
        page = {
            "answer": {
                "verdict": f"{n - len(wrong)} of {n} right: accuracy {accuracy:.3f}.",
                "reasons": [
                    "Expect the same of new images, if the model was not fitted to any "
                    "of these."
                ],
            },
            "data": data_section(images, y, None, (), None, skipped, unreadable),
            "ranking": None,
            "results": results_section(predictions, model="the model"),
            "evidence": _evidence("the model", model, embeddings, images, y, wrong),
            "labels": None,
            "code": code,
        }
        question = "How well does this model classify these images?"
        partial.write_text(render(question, source, page), encoding="utf-8")
    return accuracy


def _evidence(name: str, model, embeddings, images: ImageRows, y, wrong) -> dict:
    """Return what a model sees: a map of all images, activation maps of some.

    Those are up to 6 mistakes first, then images of each class in turn.
    """
    rng = np.random.default_rng(0)
    mistakes, order = rng.permutation(wrong)[:6], rng.permutation(len(y))
    others = order[np.argsort(turns_of(y[order]), kind="stable")]
    rows = list(dict.fromkeys([*mistakes.tolist(), *others.tolist()]))[:12]
    return {
        "model": name,
        "map": map_section(embeddings, images, y),
        "activation": activation_section(model, images.take(rows), y[rows]),
    }


def _explained(comparison, X, y) -> tuple:
    """Return the name of the best network that can be explained, and it, fitted.

    A linear head on frozen features is fitted quickly, since its embeddings are in
    the cache, and its scores can be split up, so it stands in for other heads on the
    same features; fine-tuned networks are shown only if the comparison has fitted one.
    """
    top = comparison.table[0]
    best = getattr(comparison, "best_estimator_", None)
    best = None if top["strategy"] == "baseline" else best
    if best is None or (top["strategy"] == "frozen" and not _is_linear_pipeline(best)):
        for row in comparison.table:
            linear = row["head"] in _LINEAR_HEADS
            same = top["backbone"] in (None, row["backbone"])
            if row["strategy"] == "frozen" and linear and same:
                return row["name"], clone(comparison.estimators_[row["name"]]).fit(X, y)
    return top["name"], best


def _is_linear_pipeline(model) -> bool:
    """Tell whether a pipeline ends in a linear head, whose scores can be split up."""
    return isinstance(model, Pipeline) and hasattr(model.steps[-1][1], "coef_")
