"""Compare heads on 1, 2, 4, 8 and 16 labels per class.

Half of the images of each set are for the test. Labels are drawn from the other half,
several times.

    SKTL_TEST_DATA=<folder> python benchmarks/few_labels.py <folder of classes> ...
"""

from __future__ import annotations

import _embedded_sets
import _frame
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from sktl import ProbeClassifier
from sktl._blas import one_blas_thread

BACKBONES = ["efficientnet_lite0"]
N_LABELS = (1, 2, 4, 8, 16)
HEADS = {
    "Normalizer, NearestCentroid": lambda: make_pipeline(
        Normalizer(), NearestCentroid()
    ),
    "StandardScaler, SVC": lambda: make_pipeline(StandardScaler(), SVC()),
    "Normalizer, SVC(C=10)": lambda: make_pipeline(Normalizer(), SVC(C=10)),
    "LogisticRegression": lambda: LogisticRegression(max_iter=1000),
    "StandardScaler, LogisticRegression": lambda: make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000)
    ),
    "ProbeClassifier": ProbeClassifier,
    "Normalizer, ProbeClassifier": lambda: make_pipeline(
        Normalizer(), ProbeClassifier()
    ),
}


@one_blas_thread()
def row(Z: np.ndarray, y: np.ndarray, n_labels: int, n_draws: int) -> dict | None:
    """Return the mean test accuracy of each head, in percent."""
    scores: dict[str, list[float]] = {name: [] for name in HEADS}
    for train, test in _embedded_sets.draws(y, n_labels, n_draws):
        for name, make in HEADS.items():
            fitted = make().fit(Z[train], y[train])
            scores[name].append(100 * fitted.score(Z[test], y[test]))
    if not scores["ProbeClassifier"]:
        return None
    return {name: round(float(np.mean(found)), 1) for name, found in scores.items()}


def means(rows: list[dict]) -> list[dict]:
    """Return the mean over the sets that have enough images of each class."""
    found = []
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        for n_labels in N_LABELS:
            of = (backbone, n_labels)
            mine = [r for r in rows if (r["backbone"], r["labels per class"]) == of]
            mean = {k: round(float(np.mean([r[k] for r in mine])), 1) for k in HEADS}
            found.append(
                {"backbone": of[0], "labels per class": of[1], "sets": len(mine)} | mean
            )
    return found


def main() -> None:
    """Run all draws and write the table."""
    args = _embedded_sets.arguments(__doc__, BACKBONES)
    sets = list(_embedded_sets.image_sets(args.folders))
    rows: list[dict] = []
    for backbone in args.backbones:
        for name, _, Z, y in _embedded_sets.embedded_sets(backbone, sets, args.keep):
            for n_labels in N_LABELS:
                if (found := row(Z, y, n_labels, args.draws)) is not None:
                    facts = {"backbone": backbone, "set": name}
                    facts["labels per class"] = n_labels
                    rows.append(facts | found)
                    print(_frame.table([rows[-1]]), flush=True)
    print(_frame.table(means(rows)))
    _frame.write_table(
        "few_labels",
        rows,
        ("sktl", "scikit-learn", "numpy"),
        draws=args.draws,
        means=means(rows),
    )


if __name__ == "__main__":
    main()
