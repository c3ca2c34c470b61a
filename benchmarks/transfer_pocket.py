"""Measure what the frozen features of ``pocket`` are worth on two other image sets.

``StandardScaler`` and a head with default settings on the embeddings of EuroSAT (64 px
satellite images, 10 classes) and of cats and dogs (up to 160 px), from the folder named
by ``SKTL_TEST_DATA``: at several image sizes, compared with the same network untrained,
small colour pixels, and colour histograms. Neither set influenced any choice.

Run with: python benchmarks/transfer_pocket.py
"""

import os
from pathlib import Path

import numpy as np
from _frame import write_table
from frozen_features import colour_histogram, small_pixels
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from sktl import PretrainedFeatures
from sktl.datasets import load_image_folder

DATA = Path(os.environ["SKTL_TEST_DATA"])
SETS = {"eurosat": (48, 64, 96), "cats_vs_dogs": (48, 64, 96, 128, 160)}


def standard_error(accuracy, n):
    """Return the standard error of an accuracy in percent on ``n`` test images."""
    return float(np.sqrt(accuracy * (100 - accuracy) / n))


def main():
    """Fit every combination on the training part and score it on the test part."""
    heads = {"LogisticRegression": LogisticRegression(max_iter=1000), "SVC": SVC()}
    table = []
    for name, sizes in SETS.items():
        data = load_image_folder(DATA / name)
        features = {
            "32 x 32 colour pixels": FunctionTransformer(small_pixels),
            "colour histogram": FunctionTransformer(colour_histogram),
            "pocket untrained, 64 px": PretrainedFeatures(weights=None, random_state=0),
        }
        for size in sizes:
            features[f"pocket, {size} px"] = PretrainedFeatures(image_size=size)
        for described, transformer in features.items():
            train = transformer.fit_transform(data.train.data)
            test = transformer.transform(data.test.data)
            row = {"set": name, "features": described}
            for head_name, head in heads.items():
                model = make_pipeline(StandardScaler(), head)
                model.fit(train, data.train.target)
                accuracy = 100 * model.score(test, data.test.target)
                error = standard_error(accuracy, len(data.test.target))
                row[head_name] = round(accuracy, 1)
                row[f"{head_name} standard error"] = round(error, 1)
            table.append(row)
            cells = "".join(
                f"{head}: {row[head]:5.1f} ± {row[f'{head} standard error']:.1f}  "
                for head in heads
            )
            print(f"{name:14}{described:26}{cells}", flush=True)
    packages = ("sktl", "torch", "torchvision", "scikit-learn", "pillow")
    write_table("transfer_pocket", table, packages)


if __name__ == "__main__":
    main()
