"""A linear head on embeddings, with the linear algebra on all threads or on one.

Standardised random embeddings of common sizes, logistic and ridge regressions of
scikit-learn, and the probe of fine-tuning, which always uses one thread.

Run with: python benchmarks/blas_threads.py
"""

import os
import warnings

import numpy as np
from _frame import arguments, host, interleaved, publish
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from sktl.heads import solve_classes

SIZES = [(200, 128, 2), (600, 512, 5), (2000, 2048, 10), (20000, 1280, 10)]


def problem(n, width, n_classes):
    """Return embeddings whose classes overlap, and labels."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, n)
    centres = 0.2 * rng.normal(size=(n_classes, width))
    return rng.normal(size=(n, width)) + centres[y], y


def main():
    """Time every head at every size."""
    warnings.simplefilter("ignore")
    args = arguments(__doc__)
    before = host()
    threads = {"all threads": None, "one thread": 1}
    rows = []
    for n, width, n_classes in SIZES:
        n = max(100, round(n * args.share))
        X, y = problem(n, width, n_classes)
        targets = np.eye(n_classes)[y]
        ones = np.ones(n)
        heads = {
            "logistic": lambda X=X, y=y: LogisticRegression(max_iter=100).fit(X, y),
            "ridge": lambda X=X, y=targets: Ridge().fit(X, y),
            "probe": lambda X=X, y=y, k=n_classes, w=ones: solve_classes(X, y, k, w),
        }

        def run(head, limit):
            with threadpool_limits(limits=limit, user_api="blas"):
                head()

        cases = {
            (name, which): lambda head=head, limit=limit: run(head, limit)
            for name, head in heads.items()
            for which, limit in threads.items()
        }
        times = interleaved(cases, args.repeats)
        for name in heads:
            row = {"rows": n, "width": width, "classes": n_classes, "head": name}
            row |= {which: times[name, which] for which in threads}
            ratio = row["all threads"]["median"] / row["one thread"]["median"]
            rows.append({**row, "all / one": ratio})
    notes = [
        f"Seconds of one fit; {os.cpu_count()} cores. 'all / one' above 1: one thread "
        "is faster.",
        "'probe' limits itself to one thread, penalty chosen by cross-validation.",
    ]
    publish("blas_threads", rows, notes, args, before)


if __name__ == "__main__":
    main()
