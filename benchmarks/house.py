"""How much a reader has to hold: lines, files, frames and calls of the package.

Counts are of sktl's own code only. Frames are those on the stack when a network's first
convolution runs (or when a stored row comes back); calls are those that a fit of
``FineTunedClassifier`` makes before its first training step.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch import NeuralNet

import sktl

PACKAGE = Path(sktl.__file__).parent


def own_file(name: str) -> str | None:
    """Return a file's place in the package; None if it is not part of it."""
    path = Path(name)
    return str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else None


def size() -> dict:
    """Return lines and files, and the longest file."""
    lines = {p: len(p.read_text().splitlines()) for p in PACKAGE.rglob("*.py")}
    longest = max(lines, key=lines.__getitem__)
    return {
        "lines": sum(lines.values()),
        "files": len(lines),
        "longest_file": f"{longest.relative_to(PACKAGE)} ({lines[longest]})",
        "public_names": len([name for name in sktl.__all__ if name[0] != "_"]),
    }


def frames_of_transform() -> dict:
    """Return how deep a transform goes before the network runs."""
    X = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    found, forward = [], torch.nn.Conv2d.forward

    def watched(module, x):
        frames = [own_file(frame.filename) for frame in traceback.extract_stack()]
        found.append([name for name in frames if name])
        return forward(module, x)

    features = sktl.PretrainedFeatures(cache=tempfile.mkdtemp(), engine="torch").fit(X)
    features.transform(X[:1])  # prepares the network
    torch.set_num_threads(1)
    torch.nn.Conv2d.forward = watched
    try:
        features.transform(X)
    finally:
        torch.nn.Conv2d.forward = forward
    calls = calls_of(lambda: features.transform(X))
    return {
        "transform_frames": len(found[0]),
        "transform_files": len(set(found[0])),
        "stored_transform_frames": calls["depth"],
    }


def calls_of(run, until=None) -> dict:
    """Return the calls of a function into the package, until one of that name."""
    calls, files, depth, deepest = 0, set(), 0, 0
    is_over = False

    def profile(frame, event, arg):
        nonlocal calls, depth, deepest, is_over
        name = own_file(frame.f_code.co_filename)
        if name is None or is_over:
            return
        if event == "call":
            if frame.f_code.co_name == until:
                is_over = True
                return
            calls, depth = calls + 1, depth + 1
            deepest = max(deepest, depth)
            files.add(name)
        elif event == "return":
            depth -= 1

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return {"calls": calls, "files": len(files), "depth": deepest}


def calls_of_fit() -> dict:
    """Return what a fit on stored activations does before its first step."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 255, (20, 28, 28), dtype=np.uint8)
    y, folder = np.arange(20) % 2, tempfile.mkdtemp()
    params = {"augment": "none", "max_epochs": 1, "cache": folder, "random_state": 0}
    net = sktl.FineTunedClassifier("lenet5", **params).fit(X, y)
    found = calls_of(lambda: net.fit(X, y), until="train_step_single")
    own = [cls for cls in type(net).__mro__ if cls.__module__.startswith("sktl.")]
    overridden = {
        name
        for cls in own
        for name in vars(cls)
        if hasattr(BaseEstimator, name) or hasattr(NeuralNet, name)
    }
    return {
        "fit_files": found["files"],
        "fit_depth": found["depth"],
        "own_classes_in_mro": len(own),
        "names_overridden": len({n for n in overridden if not n.startswith("__")}),
    }


if __name__ == "__main__":
    print(json.dumps({**size(), **frames_of_transform(), **calls_of_fit()}, indent=2))
