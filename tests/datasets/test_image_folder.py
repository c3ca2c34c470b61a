import os
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.model_selection import PredefinedSplit
from sklearn.utils import Bunch

from sktl.datasets import load_image_folder
from sktl.exceptions import ImageInputError
from sktl.images import ImageRows


def fill(root, *names):
    """Make image files, or text files where the name is not that of an image."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".png", ".jpg", ".tif"):
            Image.new("RGB", (4, 4)).save(path, format="PNG")
        else:
            path.write_text("no image")
    return root


def relative(bunch, root):
    return [os.path.relpath(path, root).replace(os.sep, "/") for path in bunch.paths]


def test_folders_become_classes_in_sorted_order(tmp_path):
    fill(tmp_path, "dogs/b.png", "cats/2.jpg", "cats/10.JPG", "dogs/deep/a.png")
    pets = load_image_folder(tmp_path)
    assert isinstance(pets, Bunch)
    assert relative(pets, tmp_path) == [
        "cats/10.JPG",
        "cats/2.jpg",
        "dogs/b.png",
        "dogs/deep/a.png",
    ]
    assert_array_equal(pets.target, [0, 0, 1, 1])
    assert pets.target.dtype.kind == "i"
    assert pets.target_names == ["cats", "dogs"]
    assert pets.data is pets.paths
    assert pets.paths.dtype == object
    assert all(type(path) is str for path in pets.paths)
    assert pets.n_skipped == 0
    assert "split" not in pets
    assert "4 in 2 classes" in pets.DESCR
    assert ImageRows.of(pets.paths)[2].shape == (4, 4, 3)
    assert_array_equal(load_image_folder(str(tmp_path)).paths, pets.paths)


def test_what_is_hidden_or_no_image_is_skipped_and_counted(tmp_path):
    fill(tmp_path, "cats/1.png", "cats/.2.png", "cats/Thumbs.db", "dogs/1.png")
    fill(tmp_path, "loose.png", "README.md", ".git/1.png", "__MACOSX/cats/1.png")
    fill(tmp_path, "cats/.hidden/3.png", "cats/noextension")
    pets = load_image_folder(tmp_path)
    assert relative(pets, tmp_path) == ["cats/1.png", "dogs/1.png"]
    assert pets.target_names == ["cats", "dogs"]
    skipped = {os.path.relpath(path, tmp_path) for path in pets.skipped}
    assert {os.path.basename(path) for path in skipped} == {
        ".2.png",
        "Thumbs.db",
        "loose.png",
        "README.md",
        "noextension",
    }
    assert pets.n_skipped == 5
    assert "skipped files: 5" in pets.DESCR


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("Train", "Dev", "TEST"),
    ],
)
def test_splits_are_told_by_their_names(names, tmp_path):
    train, val, test = names
    fill(tmp_path, f"{train}/a/1.png", f"{train}/a/2.png", f"{train}/b/1.png")
    fill(tmp_path, f"{val}/b/1.png", f"{test}/a/3.png", f"{test}/b/3.png")
    data = load_image_folder(tmp_path)
    assert data.split.tolist() == ["train"] * 3 + ["val"] + ["test"] * 2
    assert data.target.tolist() == [0, 0, 1, 1, 0, 1]
    assert data.target_names == ["a", "b"]
    for name in ("train", "val", "test"):
        part = data[name]
        assert_array_equal(part.paths, data.paths[data.split == name])
        assert_array_equal(part.target, data.target[data.split == name])
        assert part.target_names == data.target_names
    folds = PredefinedSplit(np.where(data.split == "train", -1, 0))
    assert folds.get_n_splits() == 1


def test_only_the_splits_that_exist(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "notes.txt")
    data = load_image_folder(tmp_path)
    assert set(data.split) == {"train", "test"}
    assert "val" not in data
    assert data.n_skipped == 1


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, "car/1.png", "plane/1.png", "train/1.png")
    data = load_image_folder(tmp_path)
    assert data.target_names == ["car", "plane", "train"]
    fill(tmp_path, "test/1.png")
    with pytest.raises(ImageInputError, match=r"both splits .* other folders .car, pl"):
        load_image_folder(tmp_path)
    assert len(load_image_folder(tmp_path, splits=False).target_names) == 4


def test_splits_can_be_demanded(tmp_path):
    fill(tmp_path, "train/a/1.png", "test/a/1.png", "masks/1.png")
    assert len(load_image_folder(tmp_path, splits=True).paths) == 2
    with pytest.raises(ImageInputError, match="none of the folders train"):
        load_image_folder(tmp_path / "train", splits=True)
    with pytest.raises(ValueError, match="splits='yes'"):
        load_image_folder(tmp_path, splits="yes")


def test_one_class_is_the_business_of_the_classifier(tmp_path):
    assert load_image_folder(fill(tmp_path, "cats/1.png")).target.tolist() == [0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["cats/1.png", "dogs/notes.txt", "owls/.1.png"],
            "without any image: 'dogs', 'owls'",
        ),
        (
            ["train/cats/1.png", "test/cats/a.txt"],
            "test' has class folders .*: 'cats'",
        ),
        (["1.png", "2.png", "a.txt"], "no class folders, but 2 images.*of their own"),
        (["a.txt"], "no class folders"),
        (["train/a/1.png", "test/1.png"], "test.* holds no class folders, but 1 im"),
        (
            ["train/cats/1.png", "test/Cats/1.png"],
            "test split .* train split lacks: 'Ca",
        ),
        (
            ["train/a/1.png", "val/a/1.png", "dev/a/1.png"],
            "two folders .*: dev, train, val",
        ),
    ],
)
def test_folders_that_nothing_could_learn_from(names, message, tmp_path):
    fill(tmp_path, *names)
    with pytest.raises(ImageInputError, match=message):
        load_image_folder(tmp_path)


def test_what_is_no_folder(tmp_path):
    fill(tmp_path, "a.png")
    with pytest.raises(ImageInputError, match="does not exist"):
        load_image_folder(tmp_path / "missing")
    with pytest.raises(ImageInputError, match="is a file"):
        load_image_folder(tmp_path / "a.png")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_are_followed_and_loops_end(tmp_path):
    root = tmp_path / "root"
    elsewhere = fill(tmp_path / "elsewhere", "owls/1.png", "cat.png").resolve()
    fill(root, "cats/1.png", "cats/deep/2.png")
    (root / "owls").symlink_to(elsewhere / "owls")
    (root / "cats" / "3.png").symlink_to(elsewhere / "cat.png")
    (root / "cats" / "broken.png").symlink_to(elsewhere / "missing.png")
    (root / "cats" / "deep" / "loop").symlink_to(root / "cats")
    (root / "cats" / "up").symlink_to(root)
    data = load_image_folder(root)
    assert relative(data, root) == [
        "cats/1.png",
        "cats/3.png",
        "cats/deep/2.png",
        "owls/1.png",
    ]
    assert [os.path.basename(path) for path in data.skipped] == ["broken.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    fill(tmp_path, "cats/1.png", "dogs/1.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("dogs"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        ImageInputError, match="dogs' cannot be read: Permission denied"
    ):
        load_image_folder(tmp_path)


def test_real_folders(real_data):
    pets = load_image_folder(real_data / "cats_vs_dogs")
    assert pets.target_names == ["cats", "dogs"]
    assert {name: len(pets[name].paths) for name in ("train", "val", "test")} == {
        "train": 2000,
        "val": 400,
        "test": 400,
    }
    assert pets.train.target.mean() == 0.5
    assert "train: 2000 in 2 classes of 1000 to 1000" in pets.DESCR
