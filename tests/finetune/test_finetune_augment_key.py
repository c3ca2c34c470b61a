"""The key of a callable ``augment``: shared by copies, changed with behaviour."""

import copy
import enum
import importlib
import json
import pickle
import subprocess
import sys
import threading
import types
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from joblib.externals.loky.backend.reduction import dumps as dumps_for_worker
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn
from torchvision.transforms import InterpolationMode, v2

from sktl import FineTunedClassifier
from sktl.engine import images_embedded
from sktl.finetune._augment import TransformVariation
from sktl.finetune._content_key import content_key


def brighten(image, amount=0.1):
    return (image + amount).clamp(0, 1)


def make_scale(factor):
    return lambda image: image * factor


def composed(size=8, probability=0.5):
    return v2.Compose(
        [
            v2.RandomResizedCrop(size),
            v2.RandomHorizontalFlip(probability),
            v2.ColorJitter(0.1),
        ]
    )


def function_of(source, name="vary", **space):
    """Return a function as a notebook cell would define it."""
    space = {"__name__": "__main__", **space}
    exec(source, space)
    return space[name]


def as_sent_to_worker(thing):
    return pickle.loads(dumps_for_worker(thing))


def keys_in_fresh_process(things, folder):
    """Return the keys of things after loky's pickle, in another process."""
    (folder / "things.pickle").write_bytes(bytes(dumps_for_worker(things)))
    code = (
        "import json, pathlib, pickle;"
        "from sktl.finetune._content_key import content_key;"
        "things = pickle.loads(pathlib.Path('things.pickle').read_bytes());"
        "print(json.dumps({name: content_key(x) for name, x in things.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return json.loads(done.stdout)


class Hue(enum.Enum):
    WARM = 1
    COLD = 2


class Slotted:
    __slots__ = ("amount",)

    def __init__(self, amount):
        self.amount = amount

    def __call__(self, image):
        return image * self.amount


class Network(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.stages = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1))

    def forward(self, image):
        return self.stages(image[None])[0]


THINGS = {
    "compose": composed(),
    "crop": v2.RandomResizedCrop(8),
    "erasing": v2.RandomErasing(),
    "normalize": v2.Normalize([0.5], [0.5]),
    "choice": v2.RandomChoice([v2.GaussianBlur(3), brighten]),
    "function": brighten,
    "partial": partial(brighten, amount=0.2),
    "slots": Slotted(2),
    "network": Network(0),
    "method": Network(0).forward,
    "enum": partial(brighten, amount=Hue.WARM),
    "arrays": partial(brighten, amount=[np.arange(3.0), torch.ones(2), {"b", "a"}]),
    "objects": partial(brighten, amount=np.array([1, "a", None], dtype=object)),
    "builtin": torch.flip,
}


# ----- equal


@pytest.mark.parametrize("name", THINGS)
def test_copies_share_the_key(name):
    thing = THINGS[name]
    key = content_key(thing)
    assert content_key(thing) == key
    assert content_key(copy.deepcopy(thing)) == key
    assert content_key(pickle.loads(pickle.dumps(thing))) == key
    assert content_key(as_sent_to_worker(thing)) == key


@pytest.mark.parametrize(
    "thing",
    [make_scale(2.0), v2.Lambda(make_scale(2.0)), partial(make_scale(2.0))],
    ids=["lambda", "transform", "partial"],
)
def test_lambda_with_a_closure_shares_its_key_with_copies(thing):
    key = content_key(thing)
    assert content_key(copy.deepcopy(thing)) == key
    sent = as_sent_to_worker(thing)
    assert sent is not thing
    assert content_key(sent) == key


def test_equal_sources_share_the_key_whatever_name_line_and_comment():
    one = function_of("def vary(x):\n    return x + 1")
    other = function_of("\n# bright\ndef lift(x):\n\n    return x + 1", "lift")
    assert content_key(one) == content_key(other)


def test_key_is_the_same_in_a_fresh_process(tmp_path, monkeypatch):
    # Its `flip` in `x.flip(-1)` is no global, though there is one of that name.
    source = (
        "import mine\n"
        "AMOUNTS = {'b': {'x', 'y', 'z'}, 'a': 2.0}\n"
        "class Twice:\n"
        "    def __init__(self, vary):\n        self.vary = vary\n"
        "    def __call__(self, x):\n        return self.vary(self.vary(x))\n"
        "def flip(x):\n    return x.flip(-1) * AMOUNTS['a'] + mine.lift(x)\n"
        "def even(n):\n    return n == 0 or odd(n - 1)\n"
        "def odd(n):\n    return n != 0 and even(n - 1)\n"
        "things = {'flip': flip, 'even': even, 'twice': Twice(flip)}\n"
    )
    mine = "SHIFT = 1\ndef lift(x):\n    return x + SHIFT\n"
    (tmp_path / "mine.py").write_text(mine)
    monkeypatch.syspath_prepend(tmp_path)
    things = function_of(source, "things")
    things |= {"compose": composed(), "closure": make_scale(2.0)}
    things["module-level"] = importlib.import_module("mine").lift
    try:
        here = {name: content_key(thing) for name, thing in things.items()}
        assert keys_in_fresh_process(things, tmp_path) == here
        assert len(set(here.values())) == len(here)
    finally:
        del sys.modules["mine"]


def test_key_stays_when_python_specialises_code_and_copies_objects():
    vary = function_of("def vary(x):\n    return [x + i for i in range(3)]")
    thing = function_of(
        "class vary:\n    def __call__(self, x):\n        return x * 2\nthing = vary()",
        "thing",
    )
    keys = content_key(vary), content_key(thing)
    for _ in range(2000):
        vary(1)
        thing(1)
    copy.copy(thing)  # leaves a __slotnames__ in the class
    assert (content_key(vary), content_key(thing)) == keys


def test_array_mapped_from_a_file_shares_the_key(tmp_path):
    # As joblib hands large arrays to its workers.
    array = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "array.npy", array)
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    assert content_key(mapped) == content_key(array)


def test_attributes_share_the_key_in_any_order_and_entries_do_not():
    one, other = types.SimpleNamespace(a=1, b=2), types.SimpleNamespace(b=2, a=1)
    assert content_key(one) == content_key(other)
    steps = {"flip": 1, "crop": 2}
    assert content_key(steps) != content_key(dict(reversed(steps.items())))


def test_what_is_held_many_times_is_read_once():
    thing = [1]
    for _ in range(60):
        thing = [thing, thing]
    assert content_key(thing) == content_key(copy.deepcopy(thing))


# ----- different


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (composed(8), composed(9)),
        (composed(8, 0.5), composed(8, 0.6)),
        (v2.RandomErasing(), v2.RandomErasing(value=1.0)),
        (v2.RandomErasing(), v2.RandomHorizontalFlip()),
        (v2.Normalize([0.5], [0.5]), v2.Normalize([0.5], [0.6])),
        (partial(brighten, amount=1), partial(brighten, amount=2)),
        (partial(brighten, amount=1), partial(brighten, amount=1.0)),
        (partial(brighten, amount=1), partial(brighten, amount=True)),
        (make_scale(1), make_scale(2)),
        (make_scale(torch.ones(2)), make_scale(torch.tensor([1.0, 2.0]))),
        (make_scale(torch.zeros(2)), make_scale(torch.zeros(1, 2))),
        (make_scale(torch.zeros(1)), make_scale(torch.zeros(1, dtype=torch.int32))),
        (make_scale(np.zeros(2)), make_scale(np.ones(2))),
        (make_scale(Hue.WARM), make_scale(Hue.COLD)),
        (InterpolationMode.NEAREST, InterpolationMode.BILINEAR),
        (Slotted(1), Slotted(2)),
        (Network(0), Network(1)),
        (Network(0).forward, Network(1).forward),
        (torch.flip, torch.roll),
        (torch.float32, torch.float64),
        ([1, [2]], [1, 2]),
        ({1, 2}, {1, 3}),
    ],
)
def test_other_parameters_give_another_key(one, other):
    assert content_key(one) != content_key(other)


BASE = (
    "import torch\n"
    "SHIFT = [1]\n"
    "def lift(x):\n    return x + SHIFT[0]\n"
    "class Base:\n    gain = 3\n    def run(self, x):\n        return x * self.gain\n"
    "class Vary(Base):\n"
    "    @property\n    def half(self):\n        return 0.5\n"
    "    @staticmethod\n    def crop(x):\n        return x[:4]\n"
    "    def __call__(self, x):\n        return self.run(x)\n"
    "def vary(x, low=0, *, high=9):\n"
    "    def inner(y):\n        return lift(y) + 5\n"
    "    try:\n        x = x.floor()\n    except KeyError:\n        pass\n"
    "    return inner(torch.flip(x, [0])), Vary().half\n"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("low=0", "low=1"),
        ("high=9", "high=8"),
        ("x.floor()", "x.ceil()"),
        ("+ 5", "+ 6"),
        ("lift(y) +", "lift(y) -"),
        ("torch.flip(x, [0])", "torch.roll(x, [0])"),
        ("except KeyError", "except OSError"),
        ("SHIFT = [1]", "SHIFT = [2]"),
        ("x + SHIFT", "x - SHIFT"),
        ("gain = 3", "gain = 4"),
        ("x * self.gain", "x / self.gain"),
        ("return 0.5", "return 0.6"),
        ("x[:4]", "x[:5]"),
        ("Vary(Base)", "Vary(Base, object)"),
        ("self.run(x)", "self.run(-x)"),
    ],
)
def test_edited_source_gives_another_key(old, new):
    assert BASE.count(old) == 1
    before, after = function_of(BASE), function_of(BASE.replace(old, new))
    assert content_key(before) == content_key(function_of(BASE))
    assert content_key(before) != content_key(after)


def test_change_of_a_global_gives_another_key():
    space = {"__name__": "__main__", "SHIFT": 1, "unused": 1}
    exec("def vary(x):\n    return (lambda y: y + SHIFT)(x)", space)
    key = content_key(space["vary"])
    space["unused"] = 2
    assert content_key(space["vary"]) == key
    space["SHIFT"] = 2
    assert content_key(space["vary"]) != key


def test_edit_of_a_module_of_the_user_gives_another_key(monkeypatch):
    mine = types.ModuleType("mine")
    monkeypatch.setitem(sys.modules, "mine", mine)
    vary = function_of("def vary(x):\n    return mine.lift(x)", mine=mine)
    keys = []
    for source in ("x + 1", "x + 2"):
        exec(f"def lift(x):\n    return {source}", vars(mine))
        keys.append(content_key(vary))
    assert keys[0] != keys[1]


def test_function_behind_a_cache_gives_another_key_when_edited():
    one, other = (
        lru_cache(function_of(f"def vary(x):\n    return x + {n}")) for n in (1, 2)
    )
    assert content_key(one) != content_key(other)


def test_installed_functions_stand_for_themselves_and_their_version(monkeypatch):
    key = content_key(v2.functional.hflip)
    monkeypatch.setattr("torchvision.__version__", "0.0")
    assert content_key(v2.functional.hflip) != key


def test_unreadable_thing_gets_a_new_key_each_time():
    thing = make_scale(i for i in range(3))
    assert content_key(thing) != content_key(thing)
    lock = make_scale(threading.Lock())
    assert content_key(lock) == content_key(make_scale(threading.Lock()))


# ----- in an estimator


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:60].reshape(-1, 8, 8), y[:60]


def tuned(augment, folder):
    return FineTunedClassifier(
        "lenet5",
        augment=augment,
        n_views=3,
        random_state=0,
        max_epochs=2,
        cache=folder,
    )


def test_variation_reads_its_transform_once(monkeypatch):
    calls = []
    monkeypatch.setattr("sktl.finetune._augment.content_key", calls.append)
    variation = TransformVariation(brighten)
    assert variation.key == variation.key
    assert calls == [brighten]


def test_clones_share_views_and_results(digits, tmp_path):
    X, y = digits
    model = tuned(
        v2.Compose([v2.RandomResizedCrop(32), v2.RandomHorizontalFlip()]), tmp_path
    )
    before = images_embedded()
    one = clone(model).fit(X, y)
    assert images_embedded() - before == 3 * len(X)
    other = clone(model).fit(X, y)
    assert images_embedded() - before == 3 * len(X)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_edited_function_gets_views_of_its_own(digits, tmp_path):
    X, y = digits
    model = tuned(function_of("def vary(x):\n    return x"), tmp_path)
    before = model.fit(X, y).predict_proba(X)
    model.set_params(augment=function_of("def vary(x):\n    return 1 - x"))
    after = model.fit(X, y).predict_proba(X)
    assert not np.array_equal(before, after)
    fresh = clone(model).set_params(cache=None).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(after, fresh, atol=1e-6)


def test_lambda_varies_images(digits, tmp_path):
    X, y = digits
    plain = tuned(lambda x: x, tmp_path).fit(X, y)
    flipped = tuned(lambda x: x.flip(-1), tmp_path).fit(X, y)
    assert not np.array_equal(plain.predict_proba(X), flipped.predict_proba(X))
