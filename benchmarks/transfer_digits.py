"""Measure how much ``lenet5``, trained on MNIST, helps with other digits.

scikit-learn's digits are 8x8 scans from a different source than MNIST's. Heads are
fitted on a few labelled digits per class, drawn 20 times, and tested on all other
digits: on the embeddings, and on the pixels themselves, plain and standardised. 120
labels per class show how far the pixels catch up.

Run with: python benchmarks/transfer_digits.py
"""

import numpy as np
from _frame import write_table
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktl import PretrainedFeatures

N_DRAWS = 20
LABELS_PER_CLASS = (10, 20, 50, 120)


def draw(labels, n_per_class, seed):
    """Return a draw of ``n_per_class`` rows per class, and all other rows."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == label), n_per_class, replace=False)
            for label in np.unique(labels)
        ]
    )
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)


def main():
    """Fit every head on every draw, print a table, write the JSON."""
    pixels, labels = load_digits(return_X_y=True)
    untrained = PretrainedFeatures("lenet5", weights=None, random_state=0)
    embedded = PretrainedFeatures("lenet5").fit_transform(pixels)
    features = {
        "pixels": (pixels / 16, False),
        "pixels, standardised": (pixels, True),
        "lenet5 untrained, standardised": (untrained.fit_transform(pixels), True),
        "lenet5, standardised": (embedded, True),
    }
    heads = {
        "LogisticRegression": LogisticRegression(max_iter=2000),
        "SVC": SVC(),
    }
    table = []
    for n_labels in LABELS_PER_CLASS:
        draws = [draw(labels, n_labels, seed) for seed in range(N_DRAWS)]
        for head_name, head in heads.items():
            for described, (values, standardise) in features.items():
                model = make_pipeline(StandardScaler(), head) if standardise else head
                scores = [
                    100
                    * model.fit(values[fit], labels[fit]).score(
                        values[test], labels[test]
                    )
                    for fit, test in draws
                ]
                row = {
                    "labels_per_class": n_labels,
                    "head": head_name,
                    "features": described,
                    "accuracy_mean": round(float(np.mean(scores)), 2),
                    "accuracy_std": round(float(np.std(scores, ddof=1)), 2),
                }
                table.append(row)
                print(
                    f"{n_labels:>3} labels  {head_name:20}{described:32}"
                    f"{row['accuracy_mean']:6.2f} ± {row['accuracy_std']:.2f}",
                    flush=True,
                )
    packages = ("sktl", "torch", "scikit-learn", "numpy")
    write_table("transfer_digits", table, packages, draws=N_DRAWS)


if __name__ == "__main__":
    main()
