"""The published numbers on real photographs; skipped where these are absent."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from sktl.images import ImageRows, Recipe

GOLDEN = {
    "cats_vs_dogs/test/cats/cat.4201.jpg": (
        6155.507,
        373.0774,
        [4.8353, 3.9163, 5.3681, 8.7693, 30.2392],
    ),
    "eurosat/test/Forest/Forest_1008.jpg": (
        1190.871,
        151.5464,
        [0.1764, 12.9548, 3.3442, 0, 0],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_embeddings_of_squeezenet(name, real_data):
    network = torchvision.models.squeezenet1_0()
    weights = real_data / "weights" / "squeezenet1_0-imagenet.pth"
    network.load_state_dict(torch.load(weights, weights_only=True))
    recipe = Recipe(size=(224, 224), resize=256)
    pixels = ImageRows.of([real_data / name]).prepare(0, recipe)
    with torch.inference_mode():
        maps = network.eval().features(recipe.normalise(pixels[None]))
    embedding = maps.mean((2, 3))[0].numpy()
    total, norm, first = GOLDEN[name]
    np.testing.assert_allclose(embedding.sum(), total, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(embedding), norm, rtol=1e-4)
    np.testing.assert_allclose(embedding[:5], first, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_real_photographs_are_within_one_grey_level(interpolation, real_data):
    paths = sorted((real_data / "cats_vs_dogs" / "val").rglob("*.jpg"))[::20]
    paths += sorted((real_data / "eurosat" / "test").rglob("*.jpg"))[::50]
    recipe = Recipe((224, 224), 256, interpolation)
    rows = ImageRows.of(paths)
    mode = InterpolationMode(interpolation)
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            theirs = reference.resize(image.convert("RGB"), 256, interpolation=mode)
            theirs = reference.pil_to_tensor(reference.center_crop(theirs, 224))
        difference = (rows.prepare(i, recipe).int() - theirs.int()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.01
