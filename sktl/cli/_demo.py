"""The demonstration: handwritten digits, offline, beside the raw-pixel baseline."""

import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktl.engine import images_embedded
from sktl.features import PretrainedFeatures

N_LABELS = 10


def run_demo() -> dict:
    """Cross-validate two heads on raw pixels and on embeddings of two networks."""
    X, y = load_digits(return_X_y=True)
    few = StratifiedShuffleSplit(20, train_size=N_LABELS * 10, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    table = []
    for features in ("raw pixels", "lenet5", "pocket"):
        for head in (SVC(), LogisticRegression(max_iter=1000)):
            steps = [StandardScaler(), head]
            if features != "raw pixels":
                steps.insert(0, PretrainedFeatures(features))
            model = make_pipeline(*steps)
            started, embedded = time.perf_counter(), images_embedded()
            with_few = cross_val_score(model, X, y, cv=few)
            with_most = cross_val_score(model, X, y, cv=folds)
            table.append(
                {
                    "features": features,
                    "head": type(head).__name__,
                    f"{N_LABELS} labels a class": _percent(with_few),
                    "5-fold": _percent(with_most),
                    "fits": len(with_few) + len(with_most),
                    "images embedded": images_embedded() - embedded,
                    "seconds": round(time.perf_counter() - started, 1),
                }
            )
    return {
        "title": f"{len(X)} handwritten digits of 8 x 8 pixels: accuracy in percent",
        "table": table,
        "words": (
            "Mean and standard deviation over the splits. lenet5 learned on other "
            "digits (MNIST), pocket on photographs; neither saw these images. Each "
            "image went through each network once: the second head found its "
            "embeddings in the session's store."
        ),
    }


def _percent(scores: np.ndarray) -> str:
    """Return accuracies as mean and standard deviation in percent."""
    return f"{100 * scores.mean():.1f} ± {100 * scores.std():.1f}"
