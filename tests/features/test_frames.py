"""How many frames of sktl's own code lie between ``transform`` and the network."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sktl
from sktl import PretrainedFeatures
from sktl.engine import _streams
from sktl.store import _store_folder

PACKAGE = str(Path(sktl.__file__).parent)


def own_frames():
    """Return the functions of sktl that are running in this thread, outermost first."""
    frame, names = sys._getframe(), []
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names[::-1]


class Watched(nn.Module):
    """A network that notes the frames above it."""

    frames: list = []

    def forward(self, x):
        self.frames.append(own_frames())
        return x.mean(dim=(2, 3))


@pytest.fixture
def features():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Watched())
    return PretrainedFeatures(network, image_size=32, batch_size=8, engine="torch")


@pytest.mark.parametrize("n_threads", [1, 2])
def test_eight_frames_lead_from_transform_to_the_network(
    features, n_threads, monkeypatch
):
    submit, above = ThreadPoolExecutor.submit, []

    def watch(pool, function, *args):
        above.append(own_frames())  # of the thread that hands the work over
        return submit(pool, function, *args)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", watch)
    monkeypatch.setattr(_streams, "_LIGHT_GFLOPS", 0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    images = np.random.default_rng(n_threads).integers(0, 256, (40, 32, 32, 3), "u1")
    features.fit(images)
    Watched.frames.clear()
    features.transform(images)
    # Preparing the network runs it too, before the first batch is handed over.
    below = [names for names in Watched.frames if "_process" in names]
    assert len(below) >= 5
    assert len(above) == (len(below) if n_threads > 1 else 0)
    assert all(names[:2] == ["transform", "activations"] for names in above or below)
    assert max(map(len, above), default=0) + max(map(len, below)) <= 8


def test_a_stored_row_takes_fewer_frames(features, monkeypatch, tmp_path):
    images = np.random.default_rng(7).integers(0, 256, (4, 32, 32, 3), "u1")
    features.set_params(cache=tmp_path).fit_transform(images)
    depths, decode = [], _store_folder.decode_row

    def watch(key, blob):
        depths.append(len(own_frames()) + 1)
        return decode(key, blob)

    monkeypatch.setattr(_store_folder, "decode_row", watch)
    _store_folder._folders.clear()
    features.transform(images)
    assert len(depths) == 4
    assert max(depths) <= 5
