"""With real rows and a bundled network: plain torch's numbers, and a whole search."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sktl.backbones import resolve
from sktl.engine import FrozenPart, activations
from sktl.images import ImageRows
from sktl.store import EmbeddingStore


def part_of(name, layers=None, pool="avg", **changes):
    backbone = resolve(name)
    layers = layers or backbone.info.stages[-1:]
    recipe = backbone.info.recipe
    part = FrozenPart(backbone, layers, pool, recipe, None, "float32", "torch")
    return replace(part, **changes)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return paths of images of many sizes and modes."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    paths = []
    for i in range(23):
        size = (*rng.integers(20, 120, 2), 3)
        image = Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))
        image = image.convert(["RGB", "L", "P"][i % 3])
        paths.append(folder / f"{i}.png")
        image.save(paths[-1])
    return paths


@pytest.mark.parametrize("name", ["pocket", "lenet5"])
def test_embeddings_are_those_of_the_plain_network(name, photos):
    rows, part = ImageRows.of(photos), part_of(name)
    values = activations(rows, part)
    network = part.backbone.load()
    with torch.no_grad():
        expected = [
            network(part.recipe.normalise(rows.prepare(i, part.recipe)[None]))[0]
            for i in range(len(rows))
        ]
    np.testing.assert_allclose(values, np.stack(expected), rtol=1e-4, atol=1e-5)


def test_images_of_eight_and_of_more_bits_go_into_one_batch():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    wide = image.astype(np.uint16) * 257
    part = part_of("pocket")
    together = activations(ImageRows.of([image, wide]), part, cache=None)
    np.testing.assert_allclose(together[0], together[1], rtol=0.1, atol=0.05)
    alone = activations(ImageRows.of([wide]), part, cache=None)
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-4, atol=1e-5)


def test_bfloat16_rows_are_near_and_do_not_depend_on_companions(photos):
    rows = ImageRows.of(photos)
    part = part_of("pocket", precision="bfloat16")
    values = activations(rows, part, cache=None)
    exact = activations(rows, part_of("pocket"), cache=None)
    assert 0 < np.abs(values - exact).max() < 0.1 * np.abs(exact).max()
    alone = np.concatenate(
        [activations(rows.take([i]), part, cache=None) for i in range(len(rows))]
    )
    scale = np.abs(values).max()
    np.testing.assert_allclose(values, alone, atol=1e-5 * scale, rtol=0)


SEARCH = """
import json, os, sys
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sktl import EmbeddingStore, PretrainedFeatures

rng = np.random.default_rng(0)
X, y = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60) % 2
store = EmbeddingStore(sys.argv[1])
grid = {"logisticregression__C": [0.1, 1, 10]}
search = GridSearchCV(
    make_pipeline(PretrainedFeatures("lenet5", cache=store), LogisticRegression()),
    grid, cv=5, n_jobs=int(sys.argv[2]),
).fit(X, y)
print(json.dumps([store.info()["computed"], "torch" in sys.modules]))
"""


def search(folder, n_jobs):
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(folder), str(n_jobs)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def test_a_search_embeds_each_image_once_and_then_needs_no_torch(tmp_path):
    assert search(tmp_path, 1) == [60, True]
    assert search(tmp_path, 1) == [60, False]


def test_a_search_in_two_processes_embeds_each_image_once(tmp_path):
    assert search(tmp_path, 2)[0] == 60
    assert EmbeddingStore(tmp_path).info()["rows"] == 60
