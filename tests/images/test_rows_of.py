import io
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator

from sktl.exceptions import DataConversionWarning
from sktl.images import ImageRows, is_flat, read_images


@pytest.fixture
def pictures():
    """Return three images of different sizes."""
    rng = np.random.default_rng(0)
    sizes = [(7, 9), (8, 5), (6, 6)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture
def paths(pictures, tmp_path):
    """Return the same images as PNG files."""
    names = [str(tmp_path / f"{i}.png") for i in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(name)
    return names


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "bool", "uint16", "float16", "float32", "float64", "int64", "uint32"],
)
@pytest.mark.parametrize("shape", [(4, 6, 8), (4, 6, 8, 1), (4, 6, 8, 3), (4, 6, 8, 4)])
def test_arrays_keep_type_and_values(shape, dtype):
    X = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    rows = ImageRows.of(X)
    assert len(rows) == 4
    assert rows[2].dtype == dtype
    assert_array_equal(rows[2], X[2])
    assert np.shares_memory(rows[2], X)
    assert rows.scaled == (dtype not in ("uint8", "bool", "uint16"))
    assert not rows.flat


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_first_is_told_by_shape(channels):
    X = np.random.default_rng(0).integers(0, 256, (2, channels, 6, 8), dtype=np.uint8)
    assert_array_equal(ImageRows.of(X)[1], X[1].transpose(1, 2, 0))
    assert_array_equal(ImageRows.of(torch.tensor(X))[1], X[1].transpose(1, 2, 0))


def test_where_both_ends_could_be_channels_tensors_have_them_first():
    X = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 4), dtype=np.uint8)
    assert_array_equal(ImageRows.of(X)[0], X[0])
    assert_array_equal(ImageRows.of(torch.tensor(X))[0], X[0].transpose(1, 2, 0))
    assert_array_equal(ImageRows.of(list(X))[0], X[0])
    assert_array_equal(ImageRows.of(list(torch.tensor(X)))[0], X[0].transpose(1, 2, 0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16])
def test_tensors_of_any_type_that_need_gradients_or_lie_transposed(dtype):
    X = torch.arange(2 * 5 * 6).reshape(2, 6, 5).to(dtype).transpose(1, 2)
    if dtype.is_floating_point:
        X = X.requires_grad_()
    expected = X.detach().float().numpy()
    assert_array_equal(ImageRows.of(X)[1], expected[1])
    assert_array_equal(ImageRows.of(list(X))[1], expected[1])


def test_big_endian_and_long_double_arrays_become_native():
    X = np.arange(24.0).reshape(2, 3, 4)
    for dtype in (">f8", ">u2", np.longdouble):
        pixels = ImageRows.of(X.astype(dtype))[1]
        assert pixels.dtype.isnative
        assert pixels.dtype.itemsize <= 8
        assert_array_equal(pixels, X[1])


def test_a_memory_map_is_not_read(tmp_path):
    X = np.lib.format.open_memmap(
        tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(5, 4, 4, 3)
    )
    rows = ImageRows.of(X).take([3])
    assert np.shares_memory(rows[0], X)


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        np.array,
        lambda paths: np.array(paths, dtype=object),
        lambda paths: np.array(paths)[:, None],
        lambda paths: np.array(paths, dtype=object)[:, None],
        lambda paths: [[path] for path in paths],
        lambda paths: [Path(path) for path in paths],
        lambda paths: [paths[0], *map(Path, paths[1:])],
        lambda paths: [np.str_(path) for path in paths],
        pd.Series,
        lambda paths: pd.Series(paths, index=[5, 3, 3]),
        lambda paths: pd.Series(list(map(Path, paths))),
        lambda paths: pd.Series(paths, dtype="string"),
        lambda paths: pd.Series(paths, dtype=object),
        lambda paths: pd.Series(paths, dtype="category"),
        pd.Index,
        lambda paths: pd.DataFrame({"path": paths}),
        lambda paths: pd.DataFrame({"path": list(map(Path, paths))}),
        pl.Series,
        lambda paths: pl.DataFrame({"path": paths}),
        lambda paths: pl.Series(paths, dtype=pl.Categorical),
    ],
)
def test_paths_in_any_container(form, paths, pictures):
    X = form(paths)
    assert not is_flat(X)
    rows = ImageRows.of(X)
    assert len(rows) == 3
    for i, picture in enumerate(pictures):
        assert_array_equal(rows[i], picture)
        assert rows.where(i) == f"row {i} ({paths[i]!r})"
    assert not rows.scaled


def test_arrow_backed_strings(paths, pictures):
    pytest.importorskip("pyarrow")
    for X in (
        pd.Series(paths, dtype="string[pyarrow]"),
        pl.Series(paths).to_arrow(),
        pl.DataFrame({"path": paths}).to_pandas(use_pyarrow_extension_array=True),
    ):
        assert_array_equal(ImageRows.of(X)[1], pictures[1])


@pytest.mark.parametrize(
    "form",
    [
        list,
        lambda items: pd.Series(items, dtype=object),
        lambda items: pd.DataFrame({"image": pd.Series(items, dtype=object)}),
        lambda items: pl.Series(items, dtype=pl.Object),
        lambda items: np.array([*items, None], dtype=object)[:-1],
        lambda items: np.array([*items, None], dtype=object)[:-1, None],
    ],
)
@pytest.mark.parametrize(
    "item",
    [
        lambda path, picture: Path(path).read_bytes(),
        lambda path, picture: bytearray(Path(path).read_bytes()),
        lambda path, picture: memoryview(Path(path).read_bytes()),
        lambda path, picture: Image.open(path),
        lambda path, picture: Image.fromarray(picture),
        lambda path, picture: picture,
        lambda path, picture: torch.tensor(picture),
    ],
)
def test_images_of_different_sizes_one_by_one(form, item, paths, pictures):
    X = form([item(*both) for both in zip(paths, pictures, strict=True)])
    assert not is_flat(X)
    rows = ImageRows.of(X)
    for i, picture in enumerate(pictures):
        assert_array_equal(rows[i], picture)
    assert_array_equal(rows.take([2, 0])[1], pictures[0])


def test_polars_columns_of_bytes_and_of_arrays(paths, pictures):
    data = [Path(path).read_bytes() for path in paths]
    assert_array_equal(ImageRows.of(pl.Series(data))[1], pictures[1])
    X = np.arange(24.0).reshape(2, 3, 4)
    series = pl.Series(X.tolist(), dtype=pl.Array(pl.Float64, (3, 4)))
    for form in (series, pl.DataFrame({"image": series}), pl.Series(X.tolist())):
        assert_array_equal(ImageRows.of(form)[1], X[1])


def test_images_of_equal_size_in_a_list_are_not_copied():
    X = [np.zeros((6, 7, 3), dtype=np.uint8) for _ in range(3)]
    assert np.shares_memory(ImageRows.of(X)[1], X[1])


def test_nested_lists_are_tables_or_images():
    assert ImageRows.of([[1, 2, 3, 4], [5, 6, 7, 8]])[1].tolist() == [[5, 6], [7, 8]]
    assert ImageRows.of([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])[1].tolist() == [
        [5, 6],
        [7, 8],
    ]


@pytest.mark.parametrize(
    ("width", "image_shape", "expected"),
    [
        (64, None, (8, 8)),
        (3072, None, (32, 32, 3)),
        (1, None, (1, 1)),
        (3, None, (1, 1, 3)),
        (64, (4, 16), (4, 16)),
        (64, [16, 4], (16, 4)),
        (48, (4, 4, 3), (4, 4, 3)),
        (64, (4, 4, 4), (4, 4, 4)),
    ],
)
def test_rows_of_a_table_become_images(width, image_shape, expected):
    X = np.arange(2.0 * width).reshape(2, width)
    rows = ImageRows.of(X, image_shape=image_shape)
    assert rows.flat
    assert_array_equal(rows[1], X[1].reshape(expected))


def test_other_widths_are_strips_and_warn():
    with pytest.warns(DataConversionWarning, match="5 columns.*image_shape"):
        rows = ImageRows.of(np.zeros((3, 5)))
    assert rows[0].shape == (1, 5)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((3, 4)),
        np.zeros((3, 1)),
        np.zeros(3),
        np.zeros((3, 4), dtype=complex),
        np.zeros((3, 4)).astype(object),
        np.array([[{"a": 1}, 2.0], [1.0, 2.0]], dtype=object),
        torch.zeros(3, 4),
        [[1, 2], [3, 4]],
        [1.0, 2.0],
        [np.zeros(3), np.zeros(3)],
        pd.DataFrame({"a": [1, 2], "b": [1.0, None]}),
        pd.DataFrame({"a": [True, False], "b": [1, 2]}),
        pd.DataFrame({"a": [1, 2]}, dtype="Int64"),
        pl.DataFrame({"a": [1, 2], "b": [1.0, 2.0]}),
    ],
    ids=str,
)
def test_tables_of_numbers_are_left_to_scikit_learn(X):
    assert is_flat(X)


def test_sparse_matrices_are_left_to_scikit_learn():
    sparse = pytest.importorskip("scipy.sparse")
    assert is_flat(sparse.eye(3))
    assert is_flat(sparse.csr_array(np.eye(3)))


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((3, 4, 4)),
        np.zeros((3, 4, 4, 3)),
        ["a.jpg"],
        [["a.jpg"], ["b.jpg"]],
        np.array(["a.jpg"]),
        [None, "a.jpg"],
        [pd.NA, "a.jpg"],
        "a.jpg",
        [b"\xff\xd8"],
        [Image.new("L", (2, 2))],
        [np.zeros((2, 2)), np.zeros((3, 3))],
        [[[1, 2], [3, 4]]],
        pd.DataFrame({"path": ["a.jpg"]}),
        pd.DataFrame({"path": ["a.jpg"], "age": [3]}),
        None,
        [],
        {"a": 1},
    ],
)
def test_images_paths_and_nonsense_are_not_flat(X):
    assert not is_flat(X)


@pytest.mark.parametrize(("shape", "flat"), [((9, 4), True), ((9, 4, 4), False)])
def test_what_stays_on_disk_is_not_read_to_tell_its_shape(shape, flat):
    class OnDisk:
        dtype = np.dtype("float32")

        def __init__(self, shape):
            self.shape = shape

        def __array__(self, dtype=None, copy=None):
            pytest.fail("read")

    assert is_flat(OnDisk(shape)) is flat


@pytest.mark.parametrize("form", [list, np.array, lambda x: np.array(x, dtype=object)])
def test_fifty_thousand_paths_cost_nothing(form):
    X = form([f"images/{i}.jpg" for i in range(50_000)])
    start = time.perf_counter()
    rows = ImageRows.of(X)
    rows.take(np.arange(0, 50_000, 2)).take(slice(10, 20))
    assert is_flat(X) is False
    assert time.perf_counter() - start < 0.2


def test_take_copies_no_pixels_and_keeps_the_row_numbers():
    X = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    rows = ImageRows.of(X).take([5, 3, 1]).take([True, False, True])
    assert len(rows) == 2
    assert np.shares_memory(rows[1], X)
    assert_array_equal(rows[1], X[1])
    assert_array_equal(rows[-2], X[5])
    assert (rows.where(0), rows.where(1)) == ("row 5", "row 1")
    with pytest.raises(IndexError):
        rows[2]


def test_take_opens_no_file():
    rows = ImageRows.of(["missing-1.jpg", "missing-2.jpg"]).take([1])
    assert rows.where(0) == "row 1 ('missing-2.jpg')"
    assert repr(rows) == "<ImageRows: 1 images, each a path>"


def test_rows_of_rows_are_the_same():
    rows = ImageRows.of(np.zeros((2, 4, 4)))
    assert ImageRows.of(rows) is rows


def test_rows_pickle(paths, pictures):
    rows = pickle.loads(pickle.dumps(ImageRows.of(paths).take([2])))
    assert_array_equal(rows[0], pictures[2])


def test_an_opened_image_stays_as_it_is(paths):
    image = Image.open(paths[0])
    image.seek(0)
    rows = ImageRows.of([image, image])
    rows[0]
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == tuple(int(v) for v in rows[1][0, 0])


def test_no_file_stays_open(paths):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc to count open files in")
    rows = ImageRows.of(paths)
    before = len(os.listdir("/proc/self/fd"))
    kept = [rows[i] for i in range(3)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(kept) == 3


def test_reading_needs_neither_torch_nor_sklearn(paths):
    code = (
        "import sys; from sktl.images import ImageRows, learn_value_range, is_flat\n"
        f"rows = ImageRows.of({paths!r}); rows[0], rows.fingerprint(1)\n"
        "learn_value_range(ImageRows.of([[[0.0, 3.0], [1.0, 2.0]]]))\n"
        "assert not {'torch', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_paths_begin_at_home_and_where_python_stands(paths, monkeypatch):
    folder, name = os.path.split(paths[0])
    monkeypatch.setenv("HOME", folder)
    monkeypatch.setenv("USERPROFILE", folder)
    assert ImageRows.of([f"~/{name}"])[0].shape == (7, 9, 3)
    monkeypatch.chdir(folder)
    assert ImageRows.of([name])[0].shape == (7, 9, 3)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue")]
    for suffix in ("gif", "webp", "png", "tiff"):
        buffer = io.BytesIO()
        frames[0].save(buffer, suffix, save_all=True, append_images=frames[1:])
        pixels = ImageRows.of([buffer.getvalue()])[0]
        assert pixels.shape == (4, 5, 3)
        assert abs(pixels.astype(int) - [255, 0, 0]).max() < 8


class WithImageShape(BaseEstimator):
    def __init__(self, image_shape=None):
        self.image_shape = image_shape


def test_an_estimator_reads_a_table_as_scikit_learn_does():
    estimator = WithImageShape(image_shape=(2, 3))
    X = pd.DataFrame(np.arange(12.0).reshape(2, 6), columns=list("abcdef"))
    rows = read_images(estimator, X, reset=True)
    assert rows.flat
    assert_array_equal(rows[1], [[6, 7, 8], [9, 10, 11]])
    assert estimator.n_features_in_ == 6
    assert list(estimator.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="5 features, but WithImageShape is expecting"):
        read_images(estimator, np.zeros((2, 5)), reset=False)
    with pytest.raises(ValueError, match="NaN"):
        read_images(estimator, np.full((2, 6), np.nan), reset=False)


def test_an_estimator_fitted_again_on_images_forgets_the_columns(paths, pictures):
    estimator = WithImageShape()
    read_images(estimator, np.zeros((2, 4)), reset=True)
    rows = read_images(estimator, paths, reset=True)
    assert_array_equal(rows[0], pictures[0])
    assert not hasattr(estimator, "n_features_in_")
    read_images(estimator, pd.DataFrame({"path": paths}), reset=True)
    with pytest.raises(ValueError, match="feature names"):
        read_images(estimator, pd.DataFrame({"file": paths}), reset=False)
