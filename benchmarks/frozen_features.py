"""Measure how good frozen features are on real images.

Test accuracy of heads on the embeddings of trained and untrained networks, next to
baselines that use no network, on the two image sets in the folder named by
``SKTL_TEST_DATA``.

Run with: python benchmarks/frozen_features.py
"""

import os
import time
from pathlib import Path

import numpy as np
from _frame import write_table
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC

from sktl import PretrainedFeatures, ProbeClassifier
from sktl.datasets import load_image_folder

DATA = Path(os.environ["SKTL_TEST_DATA"])


def small_pixels(paths):
    """Return each image as 32 x 32 colour pixels."""
    images = (Image.open(path).convert("RGB").resize((32, 32)) for path in paths)
    return np.stack([np.asarray(image).ravel() for image in images]) / 255


def colour_histogram(paths):
    """Return a histogram of 8 x 4 x 4 hues, saturations and values per image."""
    features = []
    for path in paths:
        hsv = np.asarray(Image.open(path).convert("HSV")).reshape(-1, 3)
        counts, _ = np.histogramdd(hsv, bins=(8, 4, 4), range=[(0, 256)] * 3)
        features.append(counts.ravel() / len(hsv))
    return np.stack(features)


def main():
    """Fit every combination on the training part and score it on the test part."""
    squeezenet = {
        "backbone": "squeezenet1_0",
        "weights": DATA / "weights" / "squeezenet1_0-imagenet.pth",
    }
    features = {
        "32 x 32 colour pixels": FunctionTransformer(small_pixels),
        "colour histogram": FunctionTransformer(colour_histogram),
        "pocket untrained": PretrainedFeatures("pocket", weights=None, random_state=0),
        "pocket": PretrainedFeatures("pocket"),
        "squeezenet1_0 untrained": PretrainedFeatures(
            "squeezenet1_0", weights=None, random_state=0
        ),
        "squeezenet1_0": PretrainedFeatures(**squeezenet),
        "efficientnet_lite0 untrained": PretrainedFeatures(
            weights=None, random_state=0
        ),
        "efficientnet_lite0": PretrainedFeatures(),
        "efficientnet_lite1": PretrainedFeatures("efficientnet_lite1"),
        "efficientnet_lite2": PretrainedFeatures("efficientnet_lite2"),
    }
    heads = {
        "ProbeClassifier": ProbeClassifier(),
        "StandardScaler, LogisticRegression": make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=1000)
        ),
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "StandardScaler, SVC": make_pipeline(StandardScaler(), SVC()),
        "Normalizer, SVC(C=10)": make_pipeline(Normalizer(), SVC(C=10)),
    }
    table = []
    for name in ("cats_vs_dogs", "eurosat"):
        data = load_image_folder(DATA / name)
        for described, transformer in features.items():
            started = time.perf_counter()
            train = transformer.fit_transform(data.train.data)
            test = transformer.transform(data.test.data)
            seconds = time.perf_counter() - started
            row = {"set": name, "features": described, "seconds": round(seconds, 1)}
            for head_name, head in heads.items():
                head.fit(train, data.train.target)
                accuracy = 100 * head.score(test, data.test.target)
                row[head_name] = round(accuracy, 2)
            table.append(row)
            print("  ".join(str(value).ljust(24) for value in row.values()))
    packages = ("sktl", "torch", "torchvision", "scikit-learn", "pillow")
    write_table("frozen_features", table, packages)


if __name__ == "__main__":
    main()
