import io
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sktl.exceptions import ImageInputError, UnreadableImageError
from sktl.images import ImageRows, Recipe

RECIPE = Recipe(size=(8, 8), resize=8)


def encoded(format="JPEG", size=(80, 60)):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "X is empty"),
        (np.zeros((0, 4)), r"0 sample\(s\) \(shape=\(0, 4\)\)"),
        (np.zeros((0, 4, 4)), "X is empty"),
        (np.array([], dtype=object), "X is empty"),
        (np.zeros((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1"),
        (np.zeros((3, 0, 4)), "without any pixels"),
        (np.zeros((3, 4, 0, 3)), "without any pixels"),
        (np.zeros(3), "Reshape your data"),
        ([1.0, 2.0], "Reshape your data"),
        (np.float64(3), "Reshape your data"),
        (np.zeros((2, 4), dtype=complex), "Complex data not supported"),
        ([np.zeros((4, 4), dtype=complex)], "Row 0 of X has dtype complex128"),
        (np.zeros((2, 4, 4), dtype="M8[s]"), "datetime64"),
        (np.zeros((2, 6, 7, 5)), r"shape \(2, 6, 7, 5\).*channels"),
        (np.zeros((2, 2, 4, 4, 3)), r"shape \(2, 2, 4, 4, 3\), but images are"),
        (np.zeros((60, 80, 3), dtype=np.uint8), r"single colour image.*\[X\]"),
        ("a.jpg", "single str.*load_image_folder"),
        (Path("a.jpg"), "load_image_folder"),
        (b"\xff\xd8", "single bytes"),
        (Image.new("L", (3, 3)), "single Image"),
        (None, "X is a NoneType"),
        ({"path": ["a.jpg"]}, "X is a dict"),
        ([{"path": "a.jpg"}], r"Row 0 of X is .* \(dict\)"),
        ([io.BytesIO()], "Row 0 of X is .*BytesIO"),
        ([None, float("nan")], "All rows of X are missing"),
        ([[1, 2], [1, 2, 3]], "different lengths"),
        (["a.jpg", b"\xff\xd8"], "row 0 is a path .*, row 1 is encoded bytes"),
        (["a.jpg", None, 3], r"row 0 is a path .*, row 2 is 3 \(int\)"),
        ([None, "a.jpg", 2.5], r"row 1 is a path .*, row 2 is 2.5 \(float\)"),
        (["a.jpg", np.zeros((4, 4))], r"row 1 is an array of shape \(4, 4\)"),
        (["a.jpg", ["b.jpg"]], "different lengths|different kinds"),
        ([Image.new("L", (3, 3)), "a.jpg"], "row 0 is a PIL image"),
        (
            [np.zeros((4, 4), np.uint8), np.zeros((4, 4))],
            "row 0 is uint8.* row 1 is float64",
        ),
        ([Image.new("L", (3, 3)), Image.new("F", (3, 3))], "row 1 is float32"),
        ([np.array([["a"]], dtype=object)], "dtype object"),
        (np.array([b"\xff\xd8"]), "trailing zeros"),
        (np.array([["a.jpg", "b.jpg"]]), "2 columns"),
        (pd.DataFrame({"path": ["a.jpg"], "age": [3]}), r"2 columns.*\[\['path'\]\]"),
        (np.array([[["a"]]], dtype=object), "columns"),
        (np.array([[{"a": 1}, 2]], dtype=object), "not a valid table: .*'dict'"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
def test_what_holds_no_images_is_an_error_that_says_what_came(X, message):
    with pytest.raises(ImageInputError, match=message):
        ImageRows.of(X)
    assert issubclass(ImageInputError, ValueError)


def test_sparse_matrices_are_named():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(ImageInputError, match=r"Sparse data.*toarray"):
        ImageRows.of(sparse.eye(4).tocsr())


@pytest.mark.parametrize(
    ("X", "image_shape", "message"),
    [
        (np.zeros((2, 64)), (8, 9), "takes 72 values per row, but X has 64"),
        (np.zeros((2, 64)), (64,), "image_shape"),
        (np.zeros((2, 64)), 8, "image_shape"),
        (np.zeros((2, 64)), (8.0, 8.0), "image_shape"),
        (np.zeros((2, 64)), (-8, -8), "image_shape"),
        (np.zeros((2, 48)), (3, 4, 4), None),
        (np.zeros((2, 75)), (3, 5, 5), r"\(3, 5, 5\) .* 1, 3 or 4 channels"),
        (np.zeros((2, 8, 8)), (4, 16), "does not fit"),
    ],
)
def test_image_shape_has_to_fit(X, image_shape, message):
    if message is None:
        ImageRows.of(X, image_shape=image_shape)
        return
    with pytest.raises(ImageInputError, match=message):
        ImageRows.of(X, image_shape=image_shape)


def test_image_shape_tells_narrow_grey_images_from_one_in_colour():
    assert len(ImageRows.of(np.zeros((60, 80, 3)), image_shape=(80, 3))) == 60


def unreadable_files(folder):
    """Return paths that hold no image, and what should be said of each."""
    (folder / "text.png").write_text("hello, this is no image")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(encoded("JPEG")[:3000])
    (folder / "cut.png").write_bytes(encoded("PNG")[:600])
    (folder / "folder.jpg").mkdir()
    return {
        str(folder / "text.png"): r"Pillow knows; it begins with b'hello, this is n'",
        str(folder / "empty.jpg"): "is empty",
        str(folder / "cut.jpg"): "truncated",
        str(folder / "cut.png"): "truncated",
        str(folder / "folder.jpg"): "is a folder.*load_image_folder",
        str(folder / "missing.jpg"): "does not exist",
        "missing.jpg": "does not exist in the working directory",
        "https://example.org/a.jpg": "is a URL.*download",
        "s3://bucket/a.jpg": "is a URL",
        "": "empty path",
        "a\0.jpg": "cannot be opened",
    }


def test_unreadable_files_are_named_with_row_and_reason(tmp_path):
    expected = unreadable_files(tmp_path)
    rows = ImageRows.of(list(expected))
    for i, (path, message) in enumerate(expected.items()):
        with pytest.raises(UnreadableImageError, match=message) as caught:
            rows.prepare(i, RECIPE)
        assert str(caught.value).startswith(f"row {i} ({path!r}) ")
        with pytest.raises(UnreadableImageError, match=message):
            rows[i]


def test_a_fingerprint_of_no_file_is_the_same_error(tmp_path):
    rows = ImageRows.of([str(tmp_path), str(tmp_path / "a.jpg"), None])
    for i, message in enumerate(["is a folder", "does not exist", "is missing"]):
        with pytest.raises(UnreadableImageError, match=rf"row {i} .*{message}"):
            rows.fingerprint(i)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, np.nan])
def test_missing_values_are_unreadable_rows(missing, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    picture = np.zeros((4, 4), np.uint8)
    path = str(tmp_path / "a.png")
    data = Path(path).read_bytes()
    for item in (path, data, picture, Image.open(path)):
        X = [missing, item]
        for form in (X, pd.Series(X, dtype=object), pd.DataFrame({"image": X})):
            rows = ImageRows.of(form)
            assert rows[1].shape[:2] == (4, 4)
            with pytest.raises(UnreadableImageError, match="row 0 is missing"):
                rows[0]


def test_damaged_bytes_and_pil_images(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(encoded()[:3000])
    lazy = Image.open(tmp_path / "cut.jpg")
    for X in ([encoded()[:3000]], [bytearray(b"text")], [b""], [lazy]):
        with pytest.raises(UnreadableImageError, match="row 0 "):
            ImageRows.of(X)[0]


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((6, 7, 5), np.uint8), r"shape \(6, 7, 5\)"),
        (np.zeros((4,), np.uint8), None),
        (np.zeros((2, 2, 4, 4), np.uint8), r"shape \(2, 2, 4, 4\)"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
        (np.zeros((4, 0, 3), np.uint8), "no pixels"),
        (np.full((4, 4), np.nan), "contains NaN or infinity"),
        (np.full((4, 4, 3), np.inf, np.float16), "contains NaN or infinity"),
    ],
)
def test_arrays_that_are_no_images_are_named(picture, message):
    good = np.zeros((4, 4), picture.dtype)
    rows = ImageRows.of([good, picture])
    rows.prepare(0, RECIPE)
    with pytest.raises(UnreadableImageError, match=f"row 1 .*{message or 'shape'}"):
        rows.prepare(1, RECIPE)


def test_encoded_bytes_in_an_array_are_told_from_images():
    data = [np.frombuffer(encoded(size=(4, i)), np.uint8) for i in (4, 9)]
    with pytest.raises(ImageInputError, match="different lengths"):
        ImageRows.of(data)
    rows = ImageRows.of([np.zeros((4, 4), np.uint8), data[0]])
    with pytest.raises(UnreadableImageError, match="tobytes"):
        rows[1]


def test_nan_pixels_in_one_array_are_found_by_row():
    X = np.zeros((3, 4, 4))
    X[1, 2, 2] = np.nan
    rows = ImageRows.of(X)
    rows.prepare(0, RECIPE)
    with pytest.raises(UnreadableImageError, match=r"row 1 contains NaN"):
        rows.prepare(1, RECIPE)


def test_decompression_bombs_are_refused_before_they_take_memory(monkeypatch):
    bomb = io.BytesIO()
    Image.new("1", (300, 300)).save(bomb, "PNG")
    rows = ImageRows.of([bomb.getvalue()])
    rows[0]
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    for limit in (50_000, 10_000):  # Pillow would warn at the first, raise at the other
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with pytest.raises(UnreadableImageError, match="decompression bomb"):
                rows[0]
        assert limit == Image.MAX_IMAGE_PIXELS
    monkeypatch.undo()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert rows[0].shape == (300, 300)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded())
    path.chmod(0)
    with pytest.raises(UnreadableImageError, match="Permission denied"):
        ImageRows.of([path])[0]


def test_integers_beyond_torch_are_read():
    X = torch.zeros((2, 4, 4), dtype=torch.int64)
    assert ImageRows.of(X).prepare(0, RECIPE, (0.0, 1.0)).shape == (3, 8, 8)
