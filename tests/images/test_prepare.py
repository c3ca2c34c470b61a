import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference
from torchvision.transforms._presets import ImageClassification

from sktl.images import ImageRows, Recipe, _prepare

MODES = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}

MODES_OF_PILLOW = {name: Image.Resampling[name.upper()] for name in MODES}


def photo(height, width, channels=3, seed=0):
    """Return an image with edges, gradients and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 90 * np.sin(x / 3.1)[..., None] + 60 * np.cos(y / 11)[..., None]
    pixels = 128 + waves + rng.normal(0, 25, (height, width, channels))
    return pixels.clip(0, 255).astype(np.uint8)


def as_published(pixels, recipe):
    """Return what torchvision makes of a PIL image, before it is normalised."""
    image = Image.fromarray(pixels)
    image = image.convert("RGB" if recipe.channels == 3 else "L")
    mode = MODES[recipe.interpolation]
    if recipe.resize is None:
        image = reference.resize(image, list(recipe.size), interpolation=mode)
    else:
        image = reference.resize(image, recipe.resize, interpolation=mode)
        image = reference.center_crop(image, list(recipe.size))
    return reference.pil_to_tensor(image)


def as_float(pixels, recipe):
    """Return the same without rounding: Pillow's resize of float images."""
    bands = []
    for band in np.moveaxis(pixels, 2, 0):
        image = Image.fromarray(band.astype(np.float32))
        height, width = image.height, image.width
        across = recipe.resize * max(1, width / height)
        down = recipe.resize * max(1, height / width)
        size = (int(across), int(down))
        image = image.resize(size, MODES_OF_PILLOW[recipe.interpolation])
        band = torch.from_numpy(np.array(image))[None]
        bands.append(reference.center_crop(band, list(recipe.size)))
    return torch.cat(bands).clamp(0, 255)


def prepare(X, recipe, value_range=None):
    return ImageRows.of(X).prepare(0, recipe, value_range)


@pytest.mark.parametrize("interpolation", list(MODES))
@pytest.mark.parametrize(
    ("height", "width"),
    [(75, 100), (100, 75), (64, 64), (65, 64), (30, 41), (31, 20), (129, 333), (2, 3)],
)
@pytest.mark.parametrize(
    ("size", "resize"),
    [((56, 56), 64), ((56, 56), 56), ((64, 48), 71), ((40, 60), None)],
)
def test_8_bit_pixels_are_the_published_ones(
    size, resize, interpolation, height, width
):
    recipe = Recipe(size, resize, interpolation)
    pixels = photo(height, width)
    expected = as_published(pixels, recipe).int()
    for X in ([pixels], [Image.fromarray(pixels)], pixels[None]):
        prepared = prepare(X, recipe)
        assert prepared.dtype == torch.uint8
        assert prepared.shape == (3, *size)
        apart = (prepared.int() - expected).abs().max()
        assert apart <= (1 if interpolation == "bilinear" else 0)


@pytest.mark.parametrize(("height", "width"), [(100, 200), (200, 100), (90, 90)])
def test_a_size_that_is_not_square_shows_all_that_fits(height, width):
    recipe = Recipe(size=(224, 224), resize=224).at((32, 64))
    # White on the left, so that the columns say which part is seen.
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 4] = 255
    seen = prepare([pixels], recipe)[0, 16] > 127
    # Whatever its form, the image is as wide as the crop, and nothing is cut off there.
    assert abs(int(seen.sum()) - 16) <= 1
    tall = recipe.at((64, 32))
    rows = prepare([pixels.transpose(1, 0, 2)], tall)[0, :, 16] > 127
    assert rows.tolist() == seen.tolist()


def test_the_whole_preset_with_normalisation():
    preset = ImageClassification(crop_size=224, resize_size=256)
    recipe = Recipe(size=(224, 224), resize=256)
    pixels = photo(375, 500)
    ours = recipe.normalise(prepare([pixels], recipe)[None])[0]
    theirs = preset(Image.fromarray(pixels))
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().max() <= 1.001 / 255 / 0.224
    assert (ours - theirs).abs().mean() < 0.1 / 255 / 0.224


def test_a_jpeg_and_the_same_file_through_pillow():
    buffer = io.BytesIO()
    Image.fromarray(photo(375, 500)).save(buffer, "JPEG", quality=90)
    recipe = Recipe(size=(224, 224), resize=256)
    expected = as_published(np.asarray(Image.open(buffer)), recipe)
    prepared = prepare([buffer.getvalue()], recipe)
    assert (prepared.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_evaluation_transform_of_timm(interpolation, crop_pct):
    create_transform = pytest.importorskip("timm.data").create_transform
    transform = create_transform(
        (3, 96, 96), interpolation=interpolation, crop_pct=crop_pct
    )
    recipe = Recipe((96, 96), int(96 / crop_pct), interpolation)
    pixels = photo(150, 201)
    ours = recipe.normalise(prepare([pixels], recipe)[None])[0]
    theirs = transform(Image.fromarray(pixels))
    assert (ours - theirs).abs().max() <= 1.001 / 255 / 0.224


@pytest.mark.parametrize("shape", [(40, 60), (20, 60), (60, 20), (21, 33), (1, 1)])
def test_images_smaller_than_the_crop_get_black_borders(shape):
    recipe = Recipe(size=(64, 70), resize=31)
    if 1 in shape:
        recipe = Recipe(size=(64, 70), resize=None)
    pixels = photo(*shape)
    expected = as_published(pixels, recipe).int()
    assert (prepare([pixels], recipe).int() - expected).abs().max() <= 1


@pytest.mark.parametrize("interpolation", list(MODES))
@pytest.mark.parametrize("shape", [(12, 900), (900, 12), (3, 500), (40, 2000)])
def test_long_strips_keep_their_proportions_in_bounded_memory(
    shape, interpolation, monkeypatch
):
    recipe = Recipe((32, 32), 36, interpolation)
    pixels = photo(*shape)
    expected = as_published(pixels, recipe).int()
    if max(shape) / min(shape) > 64 and interpolation != "nearest":
        monkeypatch.setattr(_prepare, "_resize", lambda *_: pytest.fail("all of it"))
    assert (prepare([pixels], recipe).int() - expected).abs().max() <= 1
    floats = prepare([pixels / 255], recipe) * 255
    assert (floats - as_float(pixels, recipe)).abs().max() <= 0.5


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (1, 1)])
@pytest.mark.parametrize("resize", [None, 40])
def test_images_one_pixel_high_are_stretched(shape, resize):
    X = np.full((1, *shape), 77, dtype=np.uint8)
    prepared = prepare(X, Recipe((32, 32), resize))
    assert prepared.shape == (3, 32, 32)
    assert (prepared == 77).all()


def test_the_ends_of_a_strip_are_kept():
    X = np.repeat([[0.0, 1.0]], 8, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare(X.reshape(1, -1)[:, :15], Recipe((32, 32), 36))
    assert prepared[..., 0].max() == 0
    assert prepared[..., -1].min() == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_are_replicated_or_kept(channels):
    pixels = photo(50, 70, channels=1)
    recipe = _recipe(channels)
    expected = as_published(pixels[..., 0], recipe).int()
    for X in (
        [pixels],
        [pixels[..., 0]],
        pixels[None],
        [Image.fromarray(pixels[..., 0])],
    ):
        prepared = prepare(X, recipe)
        assert prepared.shape == (channels, 28, 28)
        assert (prepared.int() - expected).abs().max() <= 1


def test_colours_become_grey_with_the_weights_of_pillow():
    pixels = photo(50, 70)
    expected = np.asarray(Image.fromarray(pixels).convert("L")).astype(int)
    same = Recipe((50, 70), None, channels=1, mean=(0.5,), std=(0.5,))
    assert (prepare([pixels], same)[0].numpy() == expected).all()
    floats = prepare([pixels / 255], same)[0].numpy() * 255
    assert np.abs(floats - expected).max() <= 0.51
    recipe = _recipe(1)
    published = as_published(pixels, recipe).int()
    assert (prepare([pixels], recipe).int() - published).abs().max() <= 1


def test_wide_colours_become_grey_on_their_own_scale():
    pixels = photo(50, 70)
    same = Recipe((50, 70), None, channels=1, mean=(0.5,), std=(0.5,))
    expected = np.asarray(Image.fromarray(pixels).convert("L")) / 255
    wide = prepare([pixels.astype(np.uint16) * 257], same)
    assert np.abs(wide[0].numpy() - expected).max() < 0.51 / 255
    learned = prepare([pixels.astype(np.int32)], same, (0.0, 255.0))
    assert np.abs(learned[0].numpy() - expected).max() < 0.51 / 255
    assert (prepare([np.ones((4, 4, 3), bool)], same) > 0.999).all()


def _recipe(channels):
    mean, std = (0.1,) * channels, (0.3,) * channels
    return Recipe((28, 28), 32, channels=channels, mean=mean, std=std)


@pytest.mark.parametrize("interpolation", list(MODES))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint16", "int32"])
def test_wider_pixels_are_resized_as_float(dtype, interpolation):
    recipe = Recipe((28, 28), 32, interpolation)
    pixels = photo(50, 70)
    expected = as_float(pixels, recipe) / 255
    if dtype == "uint16":
        X, value_range = pixels.astype(dtype) * 257, None
    elif dtype == "int32":
        X, value_range = pixels.astype(dtype), (0.0, 255.0)
    else:
        X, value_range = (pixels / 255).astype(dtype), None
    prepared = prepare([X], recipe, value_range)
    assert prepared.dtype == torch.float32
    tolerance = 2e-3 if dtype == "float16" else 1e-5
    assert (prepared - expected).abs().max() < tolerance
    assert prepared.min() >= 0
    assert prepared.max() <= 1


def test_bool_pixels_are_black_and_white():
    X = np.zeros((1, 8, 8), dtype=bool)
    X[:, :, 4:] = True
    prepared = prepare(X, Recipe((8, 8), None))
    assert prepared.dtype == torch.float32
    assert prepared[0, 0].tolist() == [0] * 4 + [1] * 4
    assert (prepare(X, Recipe((8, 8), None), (0.0, 16.0)) == prepared).all()


def test_negative_ranges_are_shifted():
    X = np.full((1, 4, 4), -2.0)
    assert (prepare(X, Recipe((4, 4), None), (-4.0, 4.0)) == 0.25).all()


def test_values_beyond_the_range_stay_on_the_line():
    X = np.full((1, 4, 4), 18.0)
    assert (prepare(X, Recipe((4, 4), 4), (0.0, 16.0)) == 1.125).all()


def test_sixty_four_bit_integers_lose_nothing_before_they_are_scaled():
    X = np.full((1, 4, 4), 2**40 + 1, dtype=np.int64)
    value_range = (2.0**40, 2.0**40 + 4)
    assert (prepare(X, Recipe((4, 4), None), value_range) == 0.25).all()


@pytest.mark.parametrize("form", ["reversed", "transposed", "read-only", "every other"])
def test_arrays_may_lie_in_memory_as_they_like(form, recwarn):
    pixels = photo(40, 60)
    recipe = Recipe((28, 28), 32)
    X = {
        "reversed": pixels[::-1, ::-1],
        "transposed": pixels.swapaxes(0, 1),
        "read-only": np.frombuffer(pixels.tobytes(), np.uint8).reshape(40, 60, 3),
        "every other": pixels[::2, ::2],
    }[form]
    expected = prepare([X.copy()], recipe)
    assert (prepare([X], recipe) == expected).all()
    assert (prepare(torch.tensor(X.copy()[None]), recipe) == expected).all()
    assert not [w for w in recwarn.list if "writable" in str(w.message)]


def test_preparing_changes_neither_pixels_nor_the_random_state():
    pixels = photo(40, 60) / 255
    before, state = pixels.copy(), torch.random.get_rng_state()
    prepare([pixels], Recipe((28, 28), 32))[:] = 0.5
    assert (pixels == before).all()
    same_size = np.zeros((28, 28, 3), dtype=np.uint8)
    prepare([same_size], Recipe((28, 28), 28))[:] = 7
    assert (same_size == 0).all()
    assert (torch.random.get_rng_state() == state).all()
