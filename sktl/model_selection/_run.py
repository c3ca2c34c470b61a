"""``Run``: the trials of all contenders, and what is made of them."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
from joblib import Parallel, delayed
from sklearn.pipeline import Pipeline

from sktl.engine import resolve_device
from sktl.model_selection._comparison import Comparison
from sktl.model_selection._contenders import Contender
from sktl.model_selection._described import Described, describe
from sktl.model_selection._intervals import corrected_interval, score_interval
from sktl.model_selection._question import mean_sizes
from sktl.model_selection._trial import Rules, Trial, fit_chosen, run_trial


class Run:
    """The trials of all contenders, and what is made of them."""

    def __init__(self, X, y, groups, splits, rules: Rules, n_jobs, device: str):
        self.X = X
        self.y = y
        self.groups = groups
        self.splits = splits
        self.rules = rules
        self.n_jobs = n_jobs
        self.device = device
        self.field: list[Contender] = []
        self.trials: dict[str, list[Trial]] = {}
        self.described: dict[str, Described | None] = {}
        self._last: tuple[object, Described | None] = (None, None)

    def trials_of(self, contender: Contender) -> Iterator[Trial]:
        """Run a contender on every split; yield each trial when it is done."""
        described = self._describe(contender)
        data = self._data(contender, described)
        n_jobs = self.n_jobs
        if contender.sees_images and resolve_device(self.device) != "cpu":
            n_jobs = 1  # one process to a GPU
        jobs = (
            delayed(run_trial)(
                contender.model,
                contender.grid,
                data,
                self.y,
                self.groups,
                split,
                self.rules,
            )
            for split in self.splits
        )
        trials = self.trials[contender.name] = []
        for trial in Parallel(n_jobs=n_jobs, return_as="generator")(jobs):
            trials.append(trial)
            yield trial
        self.field.append(contender)
        self.described[contender.name] = described and described.without_features()

    def _describe(self, contender: Contender) -> Described | None:
        """Return the features of all images; those who share them come in turn."""
        features = contender.features
        if features is None:
            return None
        known, described = self._last
        if known is not features:
            described = describe(features, self.X)
            self._last = (features, described)
        return described

    def _data(self, contender: Contender, described: Described | None):
        """Return what the model of a contender is fitted to."""
        if described is not None:
            return described.features
        return self.X if contender.sees_images else np.zeros((len(self.y), 1))

    def finish(self, *, scoring, confidence, refit, copies, told, started):
        """Return what was found."""
        sizes = mean_sizes(self.splits)
        scores = {
            name: np.array([trial.score for trial in trials])
            for name, trials in self.trials.items()
        }
        best = max(scores, key=lambda name: _rank(scores[name].mean()))
        table = [
            self._row(contender, scores, best, sizes, scoring, confidence)
            for contender in self.field
        ]
        table.sort(key=lambda row: -_rank(row["score"]))
        by_name = {contender.name: contender for contender in self.field}
        found = {
            "table": table,
            "scores_": scores,
            "predictions_": {},
            "probabilities_": {},
            "y_": self.y,
            "classes_": self.rules.classes,
            "splits_": self.splits,
            "duplicate_groups_": copies,
            "best_name_": best,
            "estimators_": {
                row["name"]: by_name[row["name"]].estimator(row["params"])
                for row in table
            },
            "warnings_": told + self._warnings(),
            "scoring": scoring,
            "task": self.rules.task,
            "confidence": confidence,
            "_sizes": sizes,
        }
        for name, trials in self.trials.items():
            predictions, probabilities, tested = self._out_of_fold(trials)
            found["predictions_"][name] = predictions
            if probabilities is not None:
                found["probabilities_"][name] = probabilities
            found["tested_"] = tested
        if refit:
            found.update(self._refit(by_name[best]))
        return Comparison(**found, seconds_=time.perf_counter() - started)

    def _row(self, contender, scores, best, sizes, scoring, confidence) -> dict:
        """Return the facts of one contender."""
        name = contender.name
        trials, described = self.trials[name], self.described[name]
        score = score_interval(scores[name], *sizes, scoring, confidence)
        difference = corrected_interval(scores[name] - scores[best], *sizes, confidence)
        n_tested = sum(len(test) for _, test in self.splits)
        predict_seconds = sum(trial.predict_seconds for trial in trials)
        predict_ms = 1000 * predict_seconds / n_tested
        return {
            "name": name,
            "strategy": contender.strategy,
            "backbone": contender.backbone,
            "head": contender.head,
            "unfreeze": contender.unfreeze,
            "score": score.mean,
            "low": score.low,
            "high": score.high,
            "difference": difference.mean,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "p_value": difference.p_value,
            "fit_seconds": float(np.mean([trial.fit_seconds for trial in trials])),
            "embed_seconds": 0.0 if described is None else described.seconds,
            "predict_ms": predict_ms
            + (0.0 if described is None else described.ms_per_image),
            "embedded": sum(trial.embedded for trial in trials)
            + (0 if described is None else described.embedded),
            "model_kb": self._bytes(contender) / 1000,
            "params": _most_common([trial.params for trial in trials]),
        }

    def _bytes(self, contender: Contender) -> int:
        """Return the size of the pickled model, with the transformer in front of it."""
        described = self.described[contender.name]
        in_front = 0 if described is None else len(pickle.dumps(described.transformer))
        return in_front + int(
            np.mean([trial.n_bytes for trial in self.trials[contender.name]])
        )

    def _out_of_fold(self, trials: list[Trial]):
        """Return the first prediction for each image, and which images have one."""
        n = len(self.y)
        tested = np.zeros(n, dtype=bool)
        predictions, probabilities = np.zeros_like(self.y), None
        if trials[0].probabilities is not None:
            probabilities = np.full((n, len(self.rules.classes)), np.nan)
        for trial, (_, test) in zip(trials, self.splits, strict=True):
            new = ~tested[test]
            tested[test] = True
            predictions[test[new]] = trial.predictions[new]
            if probabilities is not None:
                probabilities[test[new]] = trial.probabilities[new]
        return predictions, probabilities, tested

    def _warnings(self) -> list[str]:
        """Return what was warned of in fits: each message once, and how often."""
        told = []
        for name, trials in self.trials.items():
            counts = Counter(message for t in trials for message in set(t.warnings))
            told += [
                f"{name}, in {count} of {len(trials)} fits: {message}"
                for message, count in counts.items()
            ]
        return told

    def _refit(self, contender: Contender) -> dict:
        """Fit a contender to all images."""
        described = self._describe(contender)
        fitted, params = fit_chosen(
            contender.model,
            contender.grid,
            self._data(contender, described),
            self.y,
            self.groups,
            self.rules,
        )
        if described is not None:
            # Fitted steps make a fitted pipeline: what it predicts is what they do.
            fitted = Pipeline([("features", described.transformer), *fitted.steps])
        return {"best_estimator_": fitted, "best_params_": params}


def _rank(score: float) -> float:
    """Return a score for sorting: one that is not defined comes last."""
    return score if np.isfinite(score) else -np.inf


def _most_common(params: list[dict]) -> dict:
    """Return the parameters chosen most often; of equals, the first."""
    counts = Counter(map(repr, params))
    return max(params, key=lambda chosen: counts[repr(chosen)])
