"""A type checker understands a user's script, and finds what is wrong in it."""

import inspect
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import sktl

pytest.importorskip("mypy")

SCRIPT = """\
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import sktl
from sktl import EmbeddingStore, FineTunedClassifier, PretrainedFeatures
from sktl import list_backbones, load_model, save_model
from sktl.datasets import load_image_folder
from sktl.model_selection import compare

photos = load_image_folder("photos")
store = EmbeddingStore("embeddings", max_bytes=10**9)
features = PretrainedFeatures("pocket", batch_size=16, cache=store)
model = make_pipeline(features, LogisticRegression()).fit(photos.data, photos.target)
embeddings: np.ndarray = features.fit_transform(photos.data)
print(features.get_feature_names_out(), store.info())

tuned = FineTunedClassifier("pocket", unfreeze=2, optimizer__weight_decay=0.1)
print(tuned.fit(photos.data, photos.target).predict(photos.data))

found = compare(photos.data, photos.target, backbones=["pocket"], cv=3)
print(found.best_name_, found.summary())

save_model(model, "flowers.sktl")
print(load_model("flowers.sktl"))
names: list[str] = list_backbones(family="ResNet")
print(sktl.get_backbone(names[0]).n_features, sktl.exceptions.SktlError)
"""
# Each mistake, and what has to be said about its line.
MISTAKES = {
    ("batch_size=16", "batchsize=16"): 'argument "batchsize"',
    ("store.info()", "store.inform()"): 'no attribute "inform"',
    ("backbones=[", "backbone=["): 'argument "backbone"',
    ("found.summary()", "found.sumary()"): 'no attribute "sumary"',
    ('(family="ResNet")', "(family=50)"): '"list_backbones" has incompatible type',
    ("sktl.get_backbone", "sktl.get_bakbone"): 'no attribute "get_bakbone"',
}
# What a user without stubs for these packages sets. That torch is left out saves a
# minute and hides nothing of sktl.
SETTINGS = """\
[mypy]
ignore_missing_imports = True
[mypy-sktl.*]
follow_imports = silent
[mypy-torch.*,torchvision.*,pandas.*,matplotlib.*,PIL.*]
follow_imports = skip
"""


def test_users_script_passes_and_its_typos_are_found(tmp_path):
    wrong = SCRIPT
    for mistake in MISTAKES:
        assert wrong.count(mistake[0]) == 1
        wrong = wrong.replace(*mistake)
    (tmp_path / "right.py").write_text(SCRIPT)
    (tmp_path / "wrong.py").write_text(wrong)
    (tmp_path / "settings.ini").write_text(SETTINGS)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--no-error-summary"),
            *("--config-file", "settings.ini", "--cache-dir", "cache"),
            *("right.py", "wrong.py"),
        ],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(Path(sktl.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert "right.py" not in done.stdout
    lines = wrong.splitlines()
    reports = re.findall(r"^wrong\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    assert len(reports) == len(MISTAKES), done.stdout
    for (_, typo), text in MISTAKES.items():
        assert any(typo in lines[int(n) - 1] and text in said for n, said in reports)


def test_the_package_says_that_it_is_typed():
    assert files("sktl").joinpath("py.typed").is_file()


def test_checkers_know_every_public_name():
    """``__getattr__`` is hidden from them, so each name needs an import of its own."""
    source = inspect.getsource(sktl)
    imported = set(re.findall(r"^    from [\w.]+ import (\w+) as \1$", source, re.M))
    assert imported == set(dir(sktl)) - {"__version__"}


def is_hinted(function) -> bool:
    """Tell whether a function says what it returns."""
    return inspect.signature(function).return_annotation is not inspect.Signature.empty


def public_functions():
    """Yield the functions, and the methods of classes, that the API consists of."""
    for home in filter(inspect.ismodule, map(sktl.__dict__.get, dir(sktl))):
        for name in home.__all__:
            thing = getattr(home, name)
            if inspect.isfunction(thing):
                yield f"{home.__name__}.{name}", thing
            elif inspect.isclass(thing):
                for method, value in vars(thing).items():
                    value = getattr(value, "__func__", value)
                    if inspect.isfunction(value) and not method.startswith("_"):
                        yield f"{home.__name__}.{name}.{method}", value


def test_public_functions_and_methods_say_what_they_return():
    for name in dir(sktl):
        getattr(sktl, name)  # load it
    functions = dict(public_functions())
    assert len(functions) > 50
    assert [name for name, value in functions.items() if not is_hinted(value)] == []
