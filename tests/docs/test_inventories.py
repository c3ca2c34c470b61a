"""The names of other projects that the site links to exist there."""

import importlib
from pathlib import Path

import pytest
import sklearn.experimental.enable_halving_search_cv  # noqa: F401

INVENTORIES = sorted(
    (Path(__file__).parents[2] / "docs" / "_inventories").glob("*.txt")
)


def entries(path):
    """Return the name, kind and address of everything in an inventory."""
    return [line.split() for line in path.read_text().splitlines()[3:]]


@pytest.mark.parametrize("path", INVENTORIES, ids=lambda path: path.stem)
def test_names_exist_and_are_of_the_stated_kind(path):
    assert entries(path)
    for name, kind, _ in entries(path):
        module, _, short = name.rpartition(".")
        found = getattr(importlib.import_module(module), short)
        assert isinstance(found, type) is (kind == "class"), name
