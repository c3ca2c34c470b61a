"""The golden embeddings that came with the real SqueezeNet weights."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import SqueezeNet1_0_Weights

from sktl.backbones import resolve

GOLDEN = {
    "cats_vs_dogs/test/cats/cat.4201.jpg": (
        *(6155.507, 373.0774),
        [4.8353, 3.9163, 5.3681, 8.7693, 30.2392],
    ),
    "eurosat/test/Forest/Forest_1008.jpg": (
        *(1190.871, 151.5464),
        [0.1764, 12.9548, 3.3442, 0, 0],
    ),
}


@pytest.mark.parametrize("image", GOLDEN)
def test_real_squeezenet_gives_the_golden_values(real_data, image):
    weights = real_data / "weights" / "squeezenet1_0-imagenet.pth"
    network = resolve("squeezenet1_0", weights=weights).load()
    transform = SqueezeNet1_0_Weights.IMAGENET1K_V1.transforms()
    with Image.open(real_data / image) as opened:
        x = transform(opened.convert("RGB"))[None]
    with torch.inference_mode():
        embedding = network(x)[0].double()
    total, norm, first = GOLDEN[image]
    assert float(embedding.sum()) == pytest.approx(total, rel=1e-5)
    assert float(embedding.norm()) == pytest.approx(norm, rel=1e-5)
    np.testing.assert_allclose(embedding[:5], first, atol=2e-4)
