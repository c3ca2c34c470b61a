"""Small images of digits as files."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def save_digits(folder, n, classes=("zero", "one")):
    """Save n images of 8 x 8 pixels in a folder for each class."""
    X, y = load_digits(return_X_y=True)
    for digit, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, row in enumerate(X[y == digit][:n]):
            pixels = (row.reshape(8, 8) * 15.9).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
