"""Thumbnails: any form of image as a small RGB picture on the right scale."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from sktl.images import ImageRows
from sktl.inspection import Thumbnails

GREY = np.tile(np.arange(0, 256, 5, dtype=np.uint8), (20, 1))


@pytest.mark.parametrize(
    "images",
    [
        GREY[None],
        GREY[None, ..., None].repeat(3, axis=3),
        GREY[None].astype(np.uint16) * 257,
        GREY[None] / 255.0,
        GREY[None].astype(np.float32),
        GREY[None].astype(np.int64) * 16,
        [Image.fromarray(GREY)],
    ],
    ids=["grey", "rgb", "uint16", "unit", "0-255", "0-4095", "pil"],
)
def test_every_type_gives_the_same_picture(images):
    picture = Thumbnails(ImageRows.of(images))[0]
    assert picture.dtype == np.uint8
    assert picture.shape == (*GREY.shape, 3)
    assert np.abs(picture.astype(int) - GREY[..., None]).max() <= 1


def test_table_rows_become_pictures_again():
    X = np.arange(128).reshape(2, 64) % 17
    picture = Thumbnails(ImageRows.of(X, image_shape=(8, 8)))[1]
    assert picture.shape == (8, 8, 3)
    assert picture.max() > 200  # 16 is white here


def test_large_images_shrink_in_proportion_and_small_ones_stay():
    rows = ImageRows.of(
        [np.zeros((300, 600, 3), dtype=np.uint8), np.ones((5, 4, 3), dtype=np.uint8)]
    )
    thumbnails = Thumbnails(rows, side=100)
    assert thumbnails[0].shape == (50, 100, 3)
    assert_array_equal(thumbnails[1], rows[1])


def test_dark_and_broken_pixels_do_not_fail():
    X = np.array([np.full((4, 4), np.nan), np.linspace(0, 1, 16).reshape(4, 4)])
    thumbnails = Thumbnails(ImageRows.of(X))
    assert thumbnails[0].max() == 0
    assert thumbnails[1].max() == 255
