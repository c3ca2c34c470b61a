"""Images and folders that many tests share."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from sktl.store import _store_folder


@pytest.fixture(scope="session")
def real_data():
    """Return the folder of real images and weights, or skip the test without it."""
    folder = os.environ.get("SKTL_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SKTL_TEST_DATA names no folder of real images")
    return Path(folder)


@pytest.fixture(scope="session")
def digits():
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels as flat rows, and labels."""
    return load_digits(return_X_y=True)


@pytest.fixture(scope="session")
def stripes():
    """Return 40 images of 48 px with vertical or horizontal stripes, and labels."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    images = rng.integers(0, 60, (40, 48, 48, 3), dtype=np.uint8)
    for image, label in zip(images, y, strict=True):
        offset = rng.integers(6)
        if label:
            image[:, offset::6] += 120
        else:
            image[offset::6] += 120
    return images, y


@pytest.fixture(scope="session")
def stripe_paths(stripes, tmp_path_factory):
    """Return the same images as PNG files: an object array of paths, and labels."""
    folder = tmp_path_factory.mktemp("stripes")
    images, y = stripes
    paths = []
    for i, image in enumerate(images):
        paths.append(str(folder / f"{i:02}.png"))
        Image.fromarray(image).save(paths[-1])
    return np.array(paths, dtype=object), y


@pytest.fixture
def own_session(monkeypatch, tmp_path):
    """Name a fresh session, in the test's folder, and forget it afterwards."""
    monkeypatch.setenv("SKTL_SESSION", f"{os.getpid()}-{tmp_path.name}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(_store_folder, "_folders", {})
