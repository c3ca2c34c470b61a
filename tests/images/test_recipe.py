import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from sktl.exceptions import ImageInputError
from sktl.images import Recipe

RECIPE = Recipe(size=(224, 224), resize=256)


@pytest.mark.parametrize(
    ("recipe", "image_size", "size", "resize"),
    [
        (RECIPE, None, (224, 224), 256),
        (RECIPE, 224, (224, 224), 256),
        (RECIPE, 112, (112, 112), 128),
        (RECIPE, 64, (64, 64), 73),
        (RECIPE, np.int64(448), (448, 448), 512),
        (RECIPE, (112, 448), (112, 448), (128, 512)),
        (RECIPE, [224, 112], (224, 112), (256, 128)),
        (Recipe((299, 299), 342), 150, (150, 150), 172),
        (Recipe((64, 64), None), 96, (96, 96), None),
        (RECIPE, 1, (1, 1), 1),
    ],
)
def test_another_size_keeps_the_proportions(recipe, image_size, size, resize):
    scaled = recipe.at(image_size)
    assert (scaled.size, scaled.resize) == (size, resize)
    assert (scaled.mean, scaled.std) == (recipe.mean, recipe.std)
    assert scaled.interpolation == recipe.interpolation


@pytest.mark.parametrize("image_size", [0, -3, 2.5, (3,), (3, 4, 5), (0, 4), "ab", "a"])
def test_what_is_no_size_is_refused(image_size):
    with pytest.raises(ImageInputError, match=r"image_size=.*\(height, width\)"):
        RECIPE.at(image_size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interpolation": "cubic"}, "interpolation='cubic'.*bicubic"),
        ({"channels": 4}, "channels=4"),
        ({"channels": 1}, "one value for each of the 1 channels"),
        ({"mean": (0.5,)}, "one value for each"),
        ({"resize": 0}, "resize=0"),
        ({"size": (0, 4)}, "size="),
    ],
)
def test_impossible_recipes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{"size": (8, 8), "resize": 8, **changes})


def test_the_key_tells_all_recipes_apart():
    recipes = [
        RECIPE,
        RECIPE.at(112),
        RECIPE.at((224, 112)),
        RECIPE.at((112, 224)),
        Recipe((224, 224), None),
        Recipe((224, 224), 256, "bicubic"),
        Recipe((224, 224), 256, mean=(0.5, 0.5, 0.5)),
        Recipe((224, 224), 256, std=(0.5, 0.5, 0.5)),
        Recipe((224, 224), 256, channels=1, mean=(0.5,), std=(0.5,)),
    ]
    assert len({recipe.key for recipe in recipes}) == len(recipes)
    assert Recipe([224, 224], 256, mean=[0.485, 0.456, 0.406]).key == RECIPE.key


def test_recipes_are_values():
    again = pickle.loads(pickle.dumps(RECIPE))
    assert again == RECIPE
    assert hash(again) == hash(RECIPE)
    assert RECIPE.at(112) == RECIPE.at((112, 112))
    assert RECIPE.at((224, 448)).resize == (256, 512)
    assert RECIPE.at((224, 448)).at(224) == RECIPE


@pytest.mark.parametrize(
    "memory_format", [torch.channels_last, torch.contiguous_format]
)
def test_normalising_equals_the_textbook(memory_format):
    pixels = torch.arange(2 * 3 * 16 * 16).reshape(2, 3, 16, 16) % 256
    mean = torch.tensor(RECIPE.mean).view(1, 3, 1, 1)
    std = torch.tensor(RECIPE.std).view(1, 3, 1, 1)
    expected = (pixels / 255 - mean) / std
    bytes_ = pixels.to(torch.uint8).contiguous(memory_format=memory_format)
    floats = (pixels / 255).contiguous(memory_format=memory_format)
    before = floats.clone()
    for batch in (bytes_, floats, floats.double()):
        normalised = RECIPE.normalise(batch)
        assert normalised.dtype == torch.float32
        torch.testing.assert_close(normalised, expected, rtol=1e-5, atol=1e-6)
        assert normalised.is_contiguous(memory_format=memory_format)
    assert (floats == before).all()


def test_recipes_need_no_torch():
    code = (
        "import sys; from sktl.images import Recipe\n"
        "Recipe((224, 224), 256).at(112).key\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
