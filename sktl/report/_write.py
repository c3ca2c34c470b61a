"""Put the sections together and write the page."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from collections.abc import Sequence

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sktl._whole_file import whole_file
from sktl.images import ImageRows
from sktl.report._answer import answer_of
from sktl.report._data import data_facts
from sktl.report._evidence import embeddings_by, evidence_facts, is_linear_pipeline
from sktl.report._labels import label_facts
from sktl.report._page import render
from sktl.report._pictures import Pictures
from sktl.report._ranking import ranking_facts
from sktl.report._results import results_facts


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
    """Write a page about a comparison: question, data, ranking, pictures, answer.

    Parameters
    ----------
    path : str or path-like
        The HTML file. It needs nothing beside it, and loads nothing.

    comparison : Comparison
        Of classes, from :func:`sktl.model_selection.compare`.

    X : array-like of images
        The images that were compared on.

    source : str, default=""
        Where the images come from, in words.

    test : (array-like of images, array-like), default=None
        Images and classes that took no part in the comparison.

    skipped, unreadable : sequence of str, default=()
        Files that are no images, and images that were left out.

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
            f"The page is about classes, and this comparison is a {comparison.task}. "
            "Print the comparison, or use its plot()."
        )
    rows = ImageRows.of(X)
    y, classes = np.asarray(comparison.y_), np.asarray(comparison.classes_)
    pictures = Pictures(rows)
    with whole_file(path) as partial:
        subject = _subject(comparison)
        tested = comparison.tested_
        results = results_facts(
            _Of(pictures, np.flatnonzero(tested)),
            y[tested],
            comparison.predictions_[subject][tested],
            _of_tested(comparison.probabilities_.get(subject), tested),
            classes,
        )
        wrong = np.flatnonzero(tested & (comparison.predictions_[subject] != y))
        model = _network(comparison, X, y)
        evidence = labels = None
        if model is not None:
            name, fitted = model
            chosen = _chosen(y, wrong)
            evidence = evidence_facts(fitted, X, rows, y, classes, pictures, chosen)
            evidence["model"] = name
            if is_linear_pipeline(fitted):
                embeddings = embeddings_by(fitted, X)
                labels = label_facts(fitted.steps[-1][1], embeddings, y)
        held_out = None
        if test is not None and hasattr(comparison, "best_estimator_"):
            said = comparison.best_estimator_.predict(test[0])
            right = said == np.asarray(test[1])
            held_out = {"n": len(right), "accuracy": float(right.mean())}
        facts = {
            **_frame("Can these images be told apart?", source),
            "answer": answer_of(comparison, labels, held_out),
            "data": data_facts(
                pictures,
                y,
                comparison.duplicate_groups_,
                None if test is None else np.asarray(test[1]),
                skipped,
                unreadable,
            ),
            "ranking": ranking_facts(comparison),
            "results": {**results, "model": subject, "how": "cross-validation"},
            "evidence": evidence,
            "labels": labels,
            "code": code,
        }
        partial.write_text(render(facts), encoding="utf-8")


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
    """Write a page about what a fitted classifier says of labelled images.

    Parameters
    ----------
    path : str or path-like
        The HTML file. It needs nothing beside it, and loads nothing.

    model : fitted classifier
        A pipeline with :class:`~sktl.PretrainedFeatures`, or a
        :class:`~sktl.FineTunedClassifier`.

    X : array-like of images
        Images that the model was not fitted to.

    y : array-like of shape (n_samples,)
        Their classes.

    source : str, default=""
        Where the images come from, in words.

    skipped, unreadable : sequence of str, default=()
        Files that are no images, and images that were left out.

    code : str, default=""
        Python that loads the model.

    Returns
    -------
    accuracy : float
        Share of the images that the model is right about.

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
    rows, y = ImageRows.of(X), np.asarray(y)
    pictures = Pictures(rows)
    with whole_file(path) as partial:
        said = np.asarray(model.predict(X))
        known = np.asarray(model.classes_)
        classes = np.union1d(known, y)
        probabilities = None
        if hasattr(model, "predict_proba"):
            probabilities = np.zeros((len(y), len(classes)))
            columns = np.searchsorted(classes, known)
            probabilities[:, columns] = model.predict_proba(X)
        results = results_facts(pictures, y, said, probabilities, classes)
        chosen = _chosen(y, np.flatnonzero(said != y))
        evidence = evidence_facts(model, X, rows, y, classes, pictures, chosen)
        facts = {
            **_frame("What does this model make of these images?", source),
            "answer": {
                "verdict": (
                    f"{results['n'] - results['n_wrong']} of {results['n']} right: "
                    f"accuracy {results['accuracy']:.3f}."
                ),
                "sentences": [
                    "That is what to expect of new images if the model was not fitted "
                    "to any of these."
                ],
            },
            "data": data_facts(pictures, y, None, None, skipped, unreadable),
            "ranking": None,
            "results": {**results, "model": "the model", "how": "these images"},
            "evidence": {**evidence, "model": "the model"},
            "labels": None,
            "code": code,
        }
        partial.write_text(render(facts), encoding="utf-8")
    return results["accuracy"]


def _frame(question: str, source: str) -> dict:
    """Return what stands around the sections."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "question": question,
        "source": source,
        "date": now.strftime("%Y-%m-%d %H:%M UTC"),
        "version": importlib.metadata.version("sktl"),
    }


class _Of:
    """Some of the pictures, counted anew."""

    def __init__(self, pictures: Pictures, rows: np.ndarray):
        self._pictures = pictures
        self._rows = rows

    def __getitem__(self, i: int) -> dict:
        return self._pictures[self._rows[i]]


def _of_tested(probabilities, tested: np.ndarray):
    return None if probabilities is None else probabilities[tested]


def _subject(comparison) -> str:
    """Return the contender whose mistakes are shown: the best with a network."""
    for row in comparison.table:
        if row["strategy"] != "baseline":
            return row["name"]
    return comparison.best_name_


def _network(comparison, X, y):
    """Return a fitted network that can be explained, the best that there is.

    A linear head on frozen features is fitted in no time, since its embeddings are in
    the cache, and its scores can be taken apart; fine-tuned networks are shown only
    where the comparison has fitted one.
    """
    best = getattr(comparison, "best_estimator_", None)
    top = comparison.table[0]
    if best is not None and top["strategy"] == "fine-tuned":
        return top["name"], best
    for row in comparison.table:
        if row["strategy"] != "frozen":
            continue
        if row["name"] == top["name"] and best is not None and is_linear_pipeline(best):
            return row["name"], best
        if row["head"] in ("logistic", "linear_svc", "LogisticRegression"):
            return row["name"], clone(comparison.estimators_[row["name"]]).fit(X, y)
    if isinstance(best, Pipeline) and top["strategy"] == "frozen":
        return top["name"], best
    return None


def _chosen(y: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return images to explain: mistakes first, then some of each class."""
    rng = np.random.default_rng(0)
    mistakes = rng.permutation(wrong)[:6]
    order = rng.permutation(len(y))
    turns = np.empty(len(y), dtype=int)
    for label in np.unique(y):
        own = order[y[order] == label]
        turns[own] = np.arange(len(own))
    others = order[np.argsort(turns[order], kind="stable")]
    return np.array(list(dict.fromkeys([*mistakes.tolist(), *others.tolist()])))
