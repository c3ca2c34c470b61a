import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cachetools import LRUCache
from PIL import Image

import sktl.images._fingerprint as module
from sktl.images import ImageRows

LONG_AGO = 1_000_000_000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (6, 5), "red").save(path)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return str(path)


def of(X):
    return ImageRows.of(X).fingerprint(0)


def test_equal_content_has_equal_fingerprints_in_any_form(path):
    data = Path(path).read_bytes()
    assert len(of([path])) == 16
    assert of([path]) == of([Path(path)]) == of([data]) == of([bytearray(data)])
    pixels = np.asarray(Image.open(path))
    assert of([pixels]) == of(pixels[None]) == of([Image.open(path)])
    assert of([pixels]) == of(torch.tensor(pixels).permute(2, 0, 1)[None])
    assert of([pixels]) == of(np.asfortranarray(pixels[None]))
    assert of([pixels]) != of([data])
    grey = pixels[..., 0]
    assert of([grey]) == of([grey[..., None]])


def test_value_type_and_shape_all_count():
    X = np.zeros((1, 4, 6), dtype=np.uint8)
    changed = X.copy()
    changed[0, 3, 5] = 1
    others = [changed, X.astype(bool), X.astype(float), X.reshape(1, 6, 4)]
    assert len({of(x) for x in [X, *others]}) == 5


@pytest.mark.parametrize("dtype", ["bool", "float16", "uint16", "int64"])
def test_every_type_of_pixels_has_fingerprints(dtype):
    assert len(of(np.ones((1, 3, 3), dtype))) == 16
    assert of(np.ones((1, 3, 3), ">u2")) == of(np.ones((1, 3, 3), "u2"))


def test_fingerprints_are_the_same_in_another_process():
    code = (
        "import numpy as np; from sktl.images import ImageRows\n"
        "X = np.arange(60.0).reshape(1, 4, 5, 3)\n"
        "print(ImageRows.of(X).fingerprint(0).hex())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert of(np.arange(60.0).reshape(1, 4, 5, 3)).hex() == there


def test_files_are_read_once(path, monkeypatch):
    monkeypatch.setattr(module, "_remembered", LRUCache(3))
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    first = of([path])
    monkeypatch.setattr(module, "read_file", lambda path: pytest.fail("read again"))
    assert of([path]) == first
    assert of([Path(path)]) == first


def test_a_changed_file_is_read_again_even_with_the_old_size_and_time(
    path, monkeypatch
):
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    before = of([path])
    assert of([path]) == before
    data = bytearray(Path(path).read_bytes())
    data[-20] ^= 1
    Path(path).write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert of([path]) != before


def test_a_file_that_just_changed_is_not_remembered(path, monkeypatch):
    monkeypatch.setattr(module, "_remembered", LRUCache(3))
    Path(path).write_bytes(Path(path).read_bytes())
    of([path])
    assert not module._remembered


def test_the_memory_of_files_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_remembered", LRUCache(3))
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    for i in range(5):
        (tmp_path / f"{i}").write_bytes(bytes([i]))
        of([tmp_path / f"{i}"])
    assert len(module._remembered) == 3
    assert of([tmp_path / "4"]) in module._remembered.values()


def test_a_lazily_opened_image_is_known_by_its_pixels():
    buffer = io.BytesIO()
    Image.new("L", (5, 5), 7).save(buffer, "PNG")
    image = Image.open(buffer)
    assert of([image]) == of([np.full((5, 5), 7, np.uint8)])
