import io
import warnings

import numpy as np
import pytest
from PIL import Image

from sktl.exceptions import DataConversionWarning, ImageInputError, ValueRangeError
from sktl.images import ImageRows, Recipe, check_value_range, learn_value_range

RECIPE = Recipe(size=(4, 4), resize=4)


def images(low, high, n=3, dtype=float):
    """Return images whose values reach from low to high exactly."""
    X = np.random.default_rng(0).uniform(low, high, (n, 6, 6, 3))
    X[0, 0, 0, :2] = low, high
    return X.astype(dtype)


def learn(X, value_range=None):
    return learn_value_range(ImageRows.of(X), value_range)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, (0, 1)),
        (0, 0.2, (0, 1)),
        (0, 0, (0, 1)),
        (-0.02, 1.03, (0, 1)),
        (0, 16, (0, 16)),
        (0, 15, (0, 16)),
        (0, 100, (0, 128)),
        (0, 140, (0, 255)),
        (0, 255, (0, 255)),
        (0, 256, (0, 255)),
        (-3, 258, (0, 255)),
        (0, 300, (0, 512)),
        (0, 4000, (0, 4095)),
        (0, 4095, (0, 4095)),
        (0, 60000, (0, 65535)),
        (0, 1e6, (0, 2**20)),
        (-1, 1, (-1, 1)),
        (-0.4, 0.9, (-1, 1)),
        (-2.1, 2.6, (-4, 4)),
        (-128, 127, (-128, 128)),
        (-5, -3, (-8, 8)),
    ],
)
def test_learned_ranges_are_round(low, high, expected):
    assert learn(images(low, high)) == expected
    assert all(isinstance(end, float) for end in learn(images(low, high)))


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int16", "int64", "uint32"]
)
def test_floats_and_wide_integers_are_learned_alike(dtype):
    assert learn(images(0, 100, dtype=dtype)) == (0, 128)


@pytest.mark.parametrize("dtype", ["bool", "uint8"])
def test_types_with_a_range_of_their_own_learn_nothing(dtype):
    assert learn(np.zeros((2, 4, 4), dtype)) is None
    assert learn(list(np.zeros((2, 4, 4), dtype))) is None


def test_files_learn_nothing_and_are_not_opened():
    assert learn(["missing.jpg"]) is None
    check_value_range(ImageRows.of(["missing.jpg"]), None)
    check_value_range(ImageRows.of(["missing.jpg"]), (0.0, 1.0))


def test_all_forms_of_the_same_pixels_learn_the_same():
    X = images(0, 200)
    table = X.reshape(len(X), -1)
    for form in (X, list(X), table, table.tolist(), np.moveaxis(X, 3, 1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataConversionWarning)
            assert learn(form) == (0, 255)
    floats = [Image.fromarray(x[..., 0].astype(np.float32)) for x in X]
    assert learn(floats) == (0, 255)


def test_folds_agree():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 17, (200, 64)).astype(float)
    ranges = {learn(X[rng.permutation(200)[:100]]) for _ in range(20)}
    assert ranges == {(0.0, 16.0)}


def test_taken_rows_alone_count():
    X = np.zeros((4, 4, 4))
    X[3] = 100
    rows = ImageRows.of(X)
    assert learn_value_range(rows.take([0, 1])) == (0, 1)
    assert learn_value_range(rows.take([0, 3])) == (0, 128)


def test_large_arrays_are_looked_at_in_blocks(monkeypatch):
    monkeypatch.setattr("sktl.images._sources._BLOCK", 300)
    X = np.zeros((20, 8, 8))
    X[17, 0, 0] = 9
    rows = ImageRows.of(X)
    assert learn_value_range(rows) == (0, 16)
    assert learn_value_range(rows.take(np.arange(19, -1, -1))) == (0, 16)
    assert max(map(len, rows.blocks())) < 20


def test_alpha_does_not_widen_the_range():
    X = np.ones((2, 6, 6, 4))
    X[..., 3] = 255
    assert learn(X) == (0, 1)
    assert learn(list(X)) == (0, 1)
    prepared = ImageRows.of(X).prepare(0, RECIPE)
    assert (prepared == 1).all()


def test_images_with_nan_are_left_out_and_reported_when_read():
    X = images(0, 10)
    X[1, 0, 0, 0] = np.nan
    X[2, 0, 0, 0] = np.inf
    assert learn(X) == (0, 16)
    assert learn(list(X)) == (0, 16)
    check_value_range(ImageRows.of(X), (0.0, 16.0))
    check_value_range(ImageRows.of(X[1:]), (0.0, 16.0))
    with pytest.raises(ImageInputError, match=r"NaN or infinity.*row 0"):
        learn(X[1:])


def test_an_explicit_range_wins():
    assert learn(images(0, 1), (0, 4)) == (0.0, 4.0)
    assert learn(["missing.png"], (0, 4095)) == (0.0, 4095.0)
    X = np.full((1, 4, 4), 4095, np.uint16)
    assert learn(X, (0, 4095)) == (0.0, 4095.0)
    assert (ImageRows.of(X).prepare(0, RECIPE, (0.0, 4095.0)) == 1).all()


@pytest.mark.parametrize(
    "value_range", [(1, 0), (1, 1), (0,), 3, ("a", "b"), (0, np.inf), (0, None), "ab"]
)
def test_what_is_no_range_is_refused(value_range):
    with pytest.raises(ValueRangeError, match=r"value_range=.*smaller one first"):
        learn(images(0, 1), value_range)


def test_a_range_that_cannot_apply_is_refused():
    with pytest.raises(ValueRangeError, match=r"uint8 images.*0 to 255"):
        learn(np.zeros((1, 4, 4), np.uint8), (0, 100))
    assert learn(np.zeros((1, 4, 4), np.uint8), (0, 255)) == (0.0, 255.0)
    assert learn(np.zeros((1, 4, 4), bool), (0, 1)) == (0.0, 1.0)


def test_twelve_bits_in_sixteen_are_mentioned():
    X = np.full((1, 4, 4), 3000, np.uint16)
    with pytest.warns(DataConversionWarning, match=r"value_range=\(0, 4095\)"):
        assert learn(X) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn(X * 10)


@pytest.mark.parametrize(
    ("seen", "low", "high"),
    [
        ((0, 1), 0, 255),
        ((0, 1), 0, 16),
        ((0, 1), -1, 1),
        ((0, 16), 0, 255),
        ((0, 255), 0, 4095),
        ((0, 255), 0, 65535),
        ((0, 255), -128, 127),
        ((-1, 1), 0, 255),
        ((-4, 4), 0, 255),
    ],
)
def test_another_scale_is_an_error_that_names_both(seen, low, high):
    X = images(low, high)
    message = rf"{low:g} to {high:g}.*\({seen[0]}, {seen[1]}\)"
    with pytest.raises(ValueRangeError, match=message):
        check_value_range(ImageRows.of(X), seen)
    with pytest.raises(ValueRangeError, match=r"row 0 has pixels from.*another range"):
        ImageRows.of(X).prepare(0, RECIPE, seen)


def test_many_images_between_0_and_1_are_not_dark_ones():
    X = images(0, 1, n=10)
    with pytest.raises(ValueRangeError, match=r"0 to 1.*\(0, 255\)"):
        check_value_range(ImageRows.of(X), (0, 255))
    with pytest.warns(DataConversionWarning, match="almost black"):
        check_value_range(ImageRows.of(X[:3]), (0, 255))


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((1, 4, 4)),
        np.zeros((50, 4, 4)),
        np.ones((50, 4, 4)),
        images(0, 30),
        images(0, 255),
        images(-5, 262),
        images(0, 900),
    ],
    ids=lambda X: f"{len(X)} to {X.max():g}",
)
def test_dark_black_and_slightly_brighter_images_pass(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_value_range(ImageRows.of(X), (0.0, 255.0))


def test_a_bright_image_after_a_fit_on_dark_ones_is_read_on_one_line():
    seen = learn(images(0, 60))
    assert seen == (0, 64)
    X = np.full((1, 4, 4), 255.0)
    check_value_range(ImageRows.of(X), seen)
    np.testing.assert_allclose(ImageRows.of(X).prepare(0, RECIPE, seen), 255 / 64)


def test_floats_after_a_fit_on_8_bits_have_to_lie_between_0_and_1():
    check_value_range(ImageRows.of(images(0, 1)), None)
    with pytest.raises(ValueRangeError, match="fixed range"):
        check_value_range(ImageRows.of(images(0, 255)), None)


def test_8_bit_images_after_a_fit_on_floats_keep_their_own_range():
    X = np.full((1, 4, 4, 3), 51, np.uint8)
    check_value_range(ImageRows.of(X), (0.0, 1.0))
    prepared = ImageRows.of(X).prepare(0, RECIPE, (0.0, 1.0))
    assert prepared.dtype.itemsize == 1
    assert (prepared == 51).all()


def test_sixteen_bit_files_do_not_slip_through_a_learned_range():
    buffer = io.BytesIO()
    Image.fromarray(np.full((5, 5), 40000, np.uint16)).save(buffer, "PNG")
    with pytest.raises(ValueRangeError, match="row 0 has pixels from 40000"):
        ImageRows.of([buffer.getvalue()]).prepare(0, RECIPE, (0.0, 255.0))


@pytest.mark.parametrize("seen", [(0.0, 255.0), (-4.0, 4.0)])
def test_a_row_is_the_same_number_alone_and_among_others(seen):
    X = images(seen[0] / 2, seen[1] / 2, n=5)
    X[2] *= 0.01
    rows = ImageRows.of(X)
    for i in range(5):
        alone = ImageRows.of(X[i : i + 1]).prepare(0, RECIPE, seen)
        assert (alone == rows.prepare(i, RECIPE, seen)).all()
