"""Copies are found, and different images of one class are not taken for copies."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images
from sklearn.model_selection import GroupKFold

from sktl import PretrainedFeatures
from sktl.model_selection import _duplicates, duplicate_groups


def saved_again(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def resized(image, factor):
    return image.resize((int(image.width * factor), int(image.height * factor)))


COPIES = {
    "as JPEG": lambda image: saved_again(image, 75),
    "as bad JPEG": lambda image: saved_again(image, 40),
    "smaller": lambda image: resized(image, 0.5),
    "larger": lambda image: resized(image, 1.3),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "grey": lambda image: image.convert("L"),
}


@pytest.fixture(scope="module")
def views():
    """Return twelve windows on two photographs: different images of two classes."""
    windows = []
    for photo in load_sample_images().images:
        for top in (0, 140, 280):
            for left in (0, 300):
                window = photo[top : top + 140, left : left + 300]
                windows.append(Image.fromarray(window))
    return windows


@pytest.mark.parametrize("name", COPIES)
def test_copies_join_their_original_and_nobody_else(views, name):
    copies = [COPIES[name](view) for view in views]
    if name == "grey":
        copies = [copy.convert("RGB") for copy in copies]
    groups = duplicate_groups([*views, *copies])
    n = len(views)
    assert_array_equal(groups, [*range(n), *range(n)])


def test_exact_copies_in_different_forms_and_places(stripe_paths, tmp_path):
    paths = list(stripe_paths[0][:4])
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(paths[1]).read_bytes())
    groups = duplicate_groups([paths[0], paths[1], str(copy), paths[3]], threshold=1)
    assert_array_equal(groups, [0, 1, 1, 2])


def test_chains_are_one_group(views):
    image = views[0]
    chain = [image, resized(image, 0.8), views[1], saved_again(resized(image, 0.6), 60)]
    assert_array_equal(duplicate_groups(chain), [0, 0, 1, 0])


def test_flat_images_are_copies_only_when_equal():
    images = np.zeros((4, 16, 16, 3), np.uint8)
    images[1:3] += 100
    assert_array_equal(duplicate_groups(images), [0, 1, 1, 0])
    noisy = images + np.random.default_rng(0).integers(0, 2, images.shape, np.uint8)
    assert len(set(duplicate_groups(noisy))) == 4


def test_blocks_do_not_change_the_answer(views, monkeypatch):
    images = [*views, *[resized(view, 0.7) for view in views]]
    whole = duplicate_groups(images)
    monkeypatch.setattr(_duplicates, "_BLOCK", 5)
    assert_array_equal(duplicate_groups(images), whole)


def test_many_alike_need_no_square_of_memory(views, monkeypatch):
    grey = np.asarray(views[0].convert("L"))
    images = [np.clip(grey + np.float64(i), 0, 255).astype(np.uint8) for i in range(40)]
    monkeypatch.setattr(_duplicates, "_BLOCK", 16)
    kept = []
    spanning = _duplicates._spanning
    monkeypatch.setattr(
        _duplicates, "_spanning", lambda pairs: kept.append(spanning(pairs)) or kept[-1]
    )
    assert_array_equal(duplicate_groups(images), 0)
    assert max(pairs.shape[1] for pairs in kept) <= 2 * 16


def test_features_of_the_user_are_compared_instead(views):
    mirrored = views[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    images = [views[0], mirrored]
    assert_array_equal(duplicate_groups(images), [0, 1])
    features = PretrainedFeatures("lenet5", random_state=0)
    assert_array_equal(
        duplicate_groups(images, features=features, threshold=0.01), [0, 0]
    )


def test_groups_keep_copies_on_one_side(views):
    images = [*views, *[resized(view, 0.7) for view in views]]
    groups = duplicate_groups(images)
    for train, test in GroupKFold(3).split(images, groups=groups):
        assert not {i % 12 for i in train} & {i % 12 for i in test}


@pytest.mark.parametrize("name", ["cats_vs_dogs", "eurosat"])
def test_real_images_of_a_class_are_told_from_copies(real_data, name):
    paths = sorted(map(str, (real_data / name / "train").glob("*/*.jpg")))
    paths = paths[:: len(paths) // 300]
    images = [Image.open(path).convert("RGB") for path in paths]
    chosen = np.arange(0, 300, 5)
    originals = [images[i] for i in chosen]
    copies = [saved_again(image, 90) for image in originals]
    copies += [ImageEnhance.Brightness(image).enhance(1.05) for image in originals]
    if name == "cats_vs_dogs":
        copies += [resized(image, 0.75) for image in originals]
    groups = duplicate_groups([*images, *copies])
    n = len(images)
    assert len(set(groups[:n])) == n
    found = groups[n:].reshape(-1, 60) == groups[chosen]
    # Sea and forest of EuroSAT, 64 px without shape, lose what little they have.
    assert found.mean() > (0.99 if name == "cats_vs_dogs" else 0.75)
