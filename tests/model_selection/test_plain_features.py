"""Plain features without a network: their numbers, and the scikit-learn contract."""

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from sktl.model_selection import ColorHistogram, SmallPixels
from tests.contract import assert_whole_contract


@pytest.mark.filterwarnings("ignore::sktl.exceptions.DataConversionWarning")
@pytest.mark.parametrize("estimator", [SmallPixels(4), ColorHistogram()], ids=str)
def test_estimator_checks_pass_without_exception(estimator):
    assert_whole_contract(estimator)


def test_small_pixels_are_those_of_the_shrunk_image(stripes):
    images, _ = stripes
    shrunk = Image.fromarray(images[0]).resize((12, 12), Image.Resampling.BILINEAR)
    expected = np.asarray(shrunk, dtype=float).transpose(2, 0, 1).ravel() / 255
    found = SmallPixels(12).fit_transform(images[:1])[0]
    assert_allclose(found, expected, atol=1.01 / 255)


@pytest.mark.parametrize("estimator", [SmallPixels(), ColorHistogram()], ids=str)
def test_the_form_of_the_images_does_not_matter(estimator, stripes, stripe_paths):
    images, _ = stripes
    expected = estimator.fit_transform(images)
    pandas = pytest.importorskip("pandas")
    for X in (
        stripe_paths[0],
        list(images),
        [Image.fromarray(image) for image in images],
        pandas.DataFrame({"image": stripe_paths[0]}),
        images.astype(np.uint16) * 257,
    ):
        assert_allclose(estimator.fit_transform(X), expected, atol=0.01)


def test_histogram_counts_colours_as_matplotlib_names_them():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    hsv = rgb_to_hsv(image / 255).reshape(-1, 3)
    counts, _ = np.histogramdd(hsv, bins=(8, 4, 4), range=[(0, 1)] * 3)
    found = ColorHistogram().fit_transform(image[None])[0]
    assert_allclose(found**2, counts.ravel() / 64**2, atol=2e-3)


def test_histogram_forgets_where_colours_are(stripes):
    images, _ = stripes
    turned = images[:, ::-1].transpose(0, 2, 1, 3)
    histogram = ColorHistogram()
    assert_array_equal(
        histogram.fit_transform(images[:, :, ::-1]), histogram.fit_transform(images)
    )
    assert_array_equal(histogram.fit_transform(turned), histogram.fit_transform(images))


def test_bad_bins_are_named():
    with pytest.raises(ValueError, match="three positive ints"):
        ColorHistogram(bins=(8, 0, 4)).fit(np.zeros((2, 4, 4, 3), np.uint8))
