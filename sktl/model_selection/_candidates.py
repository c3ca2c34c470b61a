"""The candidates of ``compare``: baselines, heads on frozen features, fine-tuning."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline

from sktl.features import PretrainedFeatures
from sktl.model_selection._cross_validation import Split, SplitResult
from sktl.model_selection._extractors import Extraction, name_of_extractor
from sktl.model_selection._intervals import Interval
from sktl.model_selection._plain_features import ColorHistogram, SmallPixels
from sktl.model_selection._strategy_grid import (
    default_heads,
    fine_tuned_class,
    fixed_and_choices,
    frozen_model,
    read_head,
)

BASELINES = ("simplest", "pixels", "colors", "untrained")
STRATEGIES = ("baseline", "frozen", "fine-tuned")
_IDENTITY = ("name", "strategy", "backbone", "head", "unfreeze", "baseline")
# The time of kernel machines grows with the square of the number of images.
_MOST_FOR_KERNELS = 5000


@dataclass(eq=False)
class Candidate:
    """One way to learn the targets, and its results on every split.

    ``features`` is a function of each image alone, computed once; None means that the
    model itself takes images. ``grid`` is what an inner search chooses from.
    """

    name: str
    strategy: str
    features: BaseEstimator | None
    model: BaseEstimator
    grid: dict = field(default_factory=dict)
    backbone: str | None = None
    head: str | None = None
    unfreeze: object = None
    baseline: str | None = None
    extraction: Extraction | None = None
    results: list[SplitResult] = field(default_factory=list)

    def estimator(self, params: Mapping) -> BaseEstimator:
        """Return features and model as one unfitted estimator with these parameters."""
        model = clone(self.model).set_params(**params)
        if self.features is None:
            return model
        return Pipeline([("features", clone(self.features)), *model.steps])

    @property
    def scores(self) -> np.ndarray:
        """The score on each split."""
        return np.array([result.score for result in self.results])

    @property
    def rank(self) -> tuple[float, int]:
        """What decides which candidate is best: the mean score, then simplicity."""
        score = float(np.nan_to_num(self.scores.mean(), nan=-np.inf))
        return round(score, 9), -STRATEGIES.index(self.strategy)

    def held_out(self, what: str, splits: list[Split], out: np.ndarray) -> np.ndarray:
        """Fill in the predictions made for each image when it was first held out."""
        for (_, test), result in reversed(list(zip(splits, self.results, strict=True))):
            out[test] = getattr(result, what)
        return out

    def warnings(self) -> list[str]:
        """Return each message of a warning once, with how many fits raised it."""
        counts = Counter(
            message for result in self.results for message in set(result.warnings)
        )
        return [
            f"{self.name}, in {count} of {len(self.results)} fits: {message}"
            for message, count in counts.items()
        ]

    def row(self, score: Interval, difference: Interval) -> dict:
        """Return the row of the candidate in the table."""
        extraction, results = self.extraction, self.results
        params = [result.params for result in results]
        chosen = Counter(map(repr, params))
        n_tested = sum(len(result.predictions) for result in results)
        predict_seconds = sum(result.predict_seconds for result in results)
        row = {
            **{name: getattr(self, name) for name in _IDENTITY},
            "score": score.mean,
            "low": score.low,
            "high": score.high,
            "difference": difference.mean,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "p_value": difference.p_value,
            "fit_seconds": float(np.mean([result.fit_seconds for result in results])),
            "embed_seconds": 0.0,
            "predict_ms": 1000 * predict_seconds / n_tested,
            "n_features": None,
            "embedded": sum(result.embedded for result in results),
            "model_kb": float(np.mean([result.n_bytes for result in results])) / 1000,
            "params": max(params, key=lambda found: chosen[repr(found)]),
        }
        if extraction is not None:
            row["embed_seconds"] = extraction.seconds
            row["predict_ms"] += extraction.ms_per_image
            row["n_features"] = extraction.n_features
            row["embedded"] += extraction.embedded
            row["model_kb"] += len(pickle.dumps(extraction.transformer)) / 1000
        return row


def make_candidates(
    task: str,
    n_images: int,
    seed: int,
    *,
    extractors: list[PretrainedFeatures],
    heads: Sequence | None,
    unfreeze: Sequence | None,
    baselines: Sequence[str],
    fine_tuning: Mapping | None,
    image_shape,
) -> list[Candidate]:
    """Return all candidates, those with the same features next to each other."""

    def on_features(name: str, features: BaseEstimator, head, **facts) -> Candidate:
        called, estimator, grid = read_head(head, task, seed)
        return Candidate(
            name=f"{name} + {called}",
            features=features,
            model=frozen_model(features, estimator)[1:],
            grid={f"head__{key}": values for key, values in grid.items()},
            head=called,
            **facts,
        )

    def fine_tuned(extractor: PretrainedFeatures, unfreeze) -> Candidate:
        fixed, choices = fixed_and_choices(fine_tuning)
        kind = fine_tuned_class(task)
        known = {*kind().get_params(False)} - {"batch_size", "precision", "verbose"}
        shared = {k: v for k, v in extractor.get_params(False).items() if k in known}
        shared.update(unfreeze=unfreeze, random_state=seed)
        name = name_of_extractor(clone(extractor).set_params(layers=None, pool="avg"))
        return Candidate(
            name=f"{name} fine-tuned, unfreeze={unfreeze!r}",
            strategy="fine-tuned",
            features=None,
            model=kind(**{**shared, **fixed}),
            grid=choices,
            backbone=name,
            unfreeze=unfreeze,
        )

    linear, kernel = default_heads(task)
    strongest = kernel if n_images <= _MOST_FOR_KERNELS else linear
    candidates = []
    plain = {"pixels": SmallPixels, "colors": ColorHistogram}
    for kind in baselines:
        facts: dict[str, Any] = {"strategy": "baseline", "baseline": kind}
        if kind == "simplest":
            name, model = "mean of y", DummyRegressor()
            if task == "classification":
                name, model = "most frequent class", DummyClassifier(strategy="prior")
            candidates.append(Candidate(name, features=None, model=model, **facts))
        elif kind in plain:
            features = plain[kind](image_shape=image_shape)
            candidates.append(on_features(kind, features, strongest, **facts))
        elif kind == "untrained":
            first = extractors[0]
            # A module, or a network without weights, would only be compared twice.
            if isinstance(first.backbone, str) and first.weights is not None:
                random = clone(first).set_params(weights=None, random_state=seed)
                name = f"untrained {first.backbone}"
                facts["backbone"] = name_of_extractor(first)
                candidates.append(on_features(name, random, linear, **facts))
        else:
            raise ValueError(
                f"baselines: {kind!r} is unknown. Choose from {', '.join(BASELINES)}."
            )
    for extractor in extractors:
        name = name_of_extractor(extractor)
        facts = {"strategy": "frozen", "backbone": name}
        for head in dict.fromkeys([linear, strongest]) if heads is None else heads:
            candidates.append(on_features(name, extractor, head, **facts))
        for value in unfreeze if unfreeze is not None else ():
            tuned = fine_tuned(extractor, value)
            # Extractors that differ in layers or pooling share one fine-tuned network.
            if tuned.name not in {candidate.name for candidate in candidates}:
                candidates.append(tuned)
    if not candidates:
        raise ValueError(
            "There is nothing to compare: baselines, heads and unfreeze are all empty."
        )
    name, count = Counter(found.name for found in candidates).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"{count} candidates are called {name!r}. Pass each backbone and head once."
        )
    return candidates
