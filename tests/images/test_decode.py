import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps

from sktl.exceptions import UnreadableImageError
from sktl.images import ImageRows, Recipe


def picture(mode="RGB", size=(23, 17)):
    """Return a smooth colourful image of a mode."""
    x, y = np.meshgrid(*(np.linspace(0, 255, side) for side in size))
    pixels = np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)
    image = Image.fromarray(pixels)
    return image if mode == "RGB" else image.convert(mode)


def encode(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "L"),
        ("PNG", "LA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
        ("BMP", "RGB"),
        ("BMP", "L"),
        ("BMP", "1"),
        ("BMP", "P"),
        ("TIFF", "RGB"),
        ("TIFF", "RGBA"),
        ("TIFF", "L"),
        ("TIFF", "CMYK"),
        ("TIFF", "P"),
        ("GIF", "P"),
        ("GIF", "L"),
        ("PPM", "RGB"),
        ("JPEG2000", "RGB"),
    ],
)
def test_every_format_and_mode_gives_what_pillow_converts_to(format, mode, tmp_path):
    data = encode(picture(mode), format)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    path = tmp_path / "image"
    path.write_bytes(data)
    for X in ([data], [path], [Image.open(path)]):
        pixels = ImageRows.of(X)[0]
        assert pixels.dtype == np.uint8
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        assert_array_equal(pixels, reference)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_images_made_in_any_mode(mode):
    image = picture(mode)
    pixels = ImageRows.of([image])[0]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    assert_array_equal(pixels, np.asarray(image.convert("RGB")))
    assert image.mode == mode


def test_a_mode_that_pillow_cannot_convert_is_named():
    premultiplied = Image.new("La", (4, 4))
    with pytest.raises(UnreadableImageError, match=r"row 0 .*La"):
        ImageRows.of([premultiplied])[0]


def test_palette_with_transparency_keeps_its_colours_without_a_warning(recwarn):
    image = picture().quantize(16)
    data = encode(image, "PNG", transparency=bytes([0, 128] + [255] * 14))
    opened = Image.open(io.BytesIO(data))
    expected = np.asarray(opened.convert("RGBA"))[..., :3]
    assert_array_equal(ImageRows.of([data])[0], expected)
    assert_array_equal(ImageRows.of([opened])[0], expected)
    assert not recwarn.list
    assert opened.mode == "P"
    assert "transparency" in opened.info


def test_alpha_is_dropped_not_blended():
    pixels = np.full((4, 5, 4), 200, dtype=np.uint8)
    pixels[..., 3] = 0
    recipe = Recipe(size=(4, 5), resize=None)
    for X in ([Image.fromarray(pixels)], [pixels], pixels[None]):
        assert (ImageRows.of(X).prepare(0, recipe) == 200).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_sixteen_bit_grey_keeps_its_bits(format):
    values = np.linspace(0, 65535, 12 * 9).reshape(12, 9).astype(np.uint16)
    if format == "PPM":
        data = b"P5 9 12 65535\n" + values.astype(">u2").tobytes()
    else:
        data = encode(Image.fromarray(values), format)
    for X in ([data], [Image.open(io.BytesIO(data))]):
        rows = ImageRows.of(X)
        assert not rows.scaled
        assert rows[0].dtype == np.uint16
        assert_array_equal(rows[0], values)
        prepared = rows.prepare(0, Recipe(size=(12, 9), resize=None))
        np.testing.assert_allclose(prepared[1], values / 65535, atol=1e-6)


def test_big_endian_sixteen_bit_tiff():
    values = (np.arange(100).reshape(10, 10) * 600).astype(">u2")
    image = Image.frombytes("I;16B", (10, 10), values.tobytes())
    pixels = ImageRows.of([image])[0]
    assert pixels.dtype == np.uint16
    assert_array_equal(pixels, values)


def test_float_files_need_a_range_unless_they_lie_between_0_and_1():
    values = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    recipe = Recipe(size=(10, 10), resize=None)
    unit, wide = (encode(Image.fromarray(v), "TIFF") for v in (values, values * 3000))
    rows = ImageRows.of([unit, wide])
    np.testing.assert_allclose(rows.prepare(0, recipe)[0], values, atol=1e-6)
    with pytest.raises(UnreadableImageError, match=r"row 1 .*0 to 3000.*value_range="):
        rows.prepare(1, recipe)
    prepared = rows.prepare(1, recipe, (0.0, 3000.0))
    np.testing.assert_allclose(prepared[0], values, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    if format == "TIFF":
        options["tiffinfo"] = {0x0112: orientation}
    data = encode(picture(), format, exif=exif, **options)
    opened = Image.open(io.BytesIO(data))
    opened.load()
    expected = np.asarray(ImageOps.exif_transpose(opened))
    for X in ([data], [Image.open(io.BytesIO(data))]):
        assert_array_equal(ImageRows.of(X)[0], expected)
    tall = orientation >= 5
    assert expected.shape[:2] == ((23, 17) if tall else (17, 23))


def test_damaged_exif_counts_as_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(picture(), "JPEG", exif=exif)
    broken = data.replace(b"Exif\0\0MM\0*", b"Exif\0\0XXXX").replace(
        b"Exif\0\0II*\0", b"Exif\0\0XXXX"
    )
    assert broken != data
    assert ImageRows.of([broken])[0].shape == (17, 23, 3)


def test_many_threads_may_read_the_same_images(tmp_path):
    picture(size=(400, 300)).save(tmp_path / "a.png")
    lazy = Image.open(tmp_path / "a.png")
    expected = np.asarray(Image.open(tmp_path / "a.png"))
    for X in ([lazy] * 16, [str(tmp_path / "a.png")] * 16):
        rows = ImageRows.of(X)
        barrier = threading.Barrier(8)

        def read(i, rows=rows, barrier=barrier):
            barrier.wait(timeout=20)
            return rows[i]

        with ThreadPoolExecutor(8) as pool:
            for pixels in pool.map(read, range(16)):
                assert_array_equal(pixels, expected)
