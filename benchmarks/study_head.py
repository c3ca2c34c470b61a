"""Study which recipe between embedding and head is never far from the best.

Half of the images of each set are for training, half for the test, in several draws.
The recipes are what people write after ``PretrainedFeatures``; "all stages" has the
averages of every stage side by side instead of the embedding. "one scale" rotates the
features at random before the probe, which makes their variances alike: it is the probe
without its scaling.

    SKTL_TEST_DATA=<folder> python benchmarks/study_head.py <folder of classes> ...
"""

from __future__ import annotations

import time

import _embedded_sets
import _frame
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC

from sktl import ProbeClassifier
from sktl._blas import one_blas_thread

BACKBONES = ["efficientnet_lite0", "squeezenet1_0", "pocket", "lenet5"]


def logistic(C: float = 1.0) -> LogisticRegression:
    """Return a logistic regression that has time to converge."""
    return LogisticRegression(C=C, max_iter=1000)


def one_scale():
    """Return the probe after a random rotation."""
    return make_pipeline(FunctionTransformer(_rotated), ProbeClassifier())


def _rotated(X: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return X @ np.linalg.qr(rng.normal(size=(X.shape[1], X.shape[1])))[0]


def evened(stages: list[np.ndarray]) -> np.ndarray:
    """Return stages side by side, each with rows as long as the root of its width."""
    return np.hstack(
        [
            Z * np.sqrt(Z.shape[1]) / np.linalg.norm(Z, axis=1, keepdims=True)
            for Z in stages
        ]
    )


# The recipes of the issue that asked for this study, then those that were tried.
USUAL = {
    "StandardScaler, SVC": lambda: make_pipeline(StandardScaler(), SVC()),
    "StandardScaler, LogisticRegression": lambda: make_pipeline(
        StandardScaler(), logistic()
    ),
    "LogisticRegression": logistic,
    "Normalizer, LogisticRegression(C=100)": lambda: make_pipeline(
        Normalizer(), logistic(100)
    ),
    "Normalizer, SVC(C=10)": lambda: make_pipeline(Normalizer(), SVC(C=10)),
}
TRIED = {
    "ProbeClassifier": ProbeClassifier,
    "StandardScaler, ProbeClassifier": lambda: make_pipeline(
        StandardScaler(), ProbeClassifier()
    ),
    "one scale, ProbeClassifier": one_scale,
    "Normalizer, ProbeClassifier": lambda: make_pipeline(
        Normalizer(), ProbeClassifier()
    ),
}
JOINED = {
    "all stages, LogisticRegression": (np.hstack, logistic),
    "all stages, ProbeClassifier": (np.hstack, ProbeClassifier),
    "all stages evened, ProbeClassifier": (evened, ProbeClassifier),
}


@one_blas_thread()
def accuracy(make, X: np.ndarray, y: np.ndarray, n_draws: int) -> float:
    """Return the mean test accuracy over draws, in percent."""
    return 100 * float(
        np.mean(
            [
                make().fit(X[train], y[train]).score(X[test], y[test])
                for train, test in _embedded_sets.draws(y, None, n_draws)
            ]
        )
    )


@one_blas_thread()
def seconds(make) -> float:
    """Return the CPU seconds of a fit to 2,000 rows of 1,280 features, 40 classes."""
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 40
    centres = rng.gamma(0.5, size=(40, 1280))
    X = (centres[y] * rng.gamma(1.0, size=(2000, 1280))).astype(np.float32)
    started = time.process_time()
    make().fit(X, y)
    return time.process_time() - started


def gaps(rows: list[dict]) -> list[dict]:
    """Return how far each recipe is from the best of the usual ones, by backbone."""
    found = []
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        mine = [row for row in rows if row["backbone"] == backbone]
        for recipe in [*USUAL, *TRIED, *JOINED]:
            behind = [row[recipe] - max(row[name] for name in USUAL) for row in mine]
            found.append(
                {
                    "backbone": backbone,
                    "recipe": recipe,
                    "mean accuracy": round(
                        float(np.mean([r[recipe] for r in mine])), 1
                    ),
                    "mean gap": round(float(np.mean(behind)), 2),
                    "worst gap": round(float(np.min(behind)), 2),
                    "sets": len(mine),
                }
            )
    return found


def main() -> None:
    """Run the study and write its table."""
    args = _embedded_sets.arguments(__doc__, BACKBONES)
    sets = list(_embedded_sets.image_sets(args.folders))
    times = {name: round(seconds(make), 2) for name, make in (USUAL | TRIED).items()}
    print(_frame.table([{"recipe": k, "seconds": v} for k, v in times.items()]))
    rows: list[dict] = []
    for backbone in args.backbones:
        for name, stages, Z, y in _embedded_sets.embedded_sets(
            backbone, sets, args.keep
        ):
            n_train = len(next(_embedded_sets.draws(y, None, 1))[0])
            row = {"backbone": backbone, "set": name, "train": n_train}
            row["classes"] = len(np.unique(y))
            for recipe, make in (USUAL | TRIED).items():
                row[recipe] = round(accuracy(make, Z, y, args.draws), 2)
            for recipe, (join, make) in JOINED.items():
                row[recipe] = round(accuracy(make, join(stages), y, args.draws), 2)
            rows.append(row)
            print(_frame.table([row]), flush=True)
        _frame.write_table(
            "study_head",
            rows,
            ("sktl", "scikit-learn", "numpy"),
            draws=args.draws,
            summary=gaps(rows),
            seconds=times,
        )
    print(_frame.table(gaps(rows)))


if __name__ == "__main__":
    main()
