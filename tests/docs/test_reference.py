"""The API reference lists every public name, and no name that does not exist."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import sktl

REFERENCE = Path(__file__).parents[2] / "docs" / "api" / "index.rst"
# The command has its own manual: sktl --help.
HOMES = ["sktl"] + [
    f"sktl.{module.name}"
    for module in pkgutil.iter_modules(sktl.__path__)
    if not module.name.startswith("_") and module.name != "cli"
]


def referenced():
    """Return the full names that the reference lists."""
    names, module, listing = [], None, False
    for line in REFERENCE.read_text().splitlines():
        if line.startswith(".. currentmodule::"):
            module = line.split()[-1]
        elif line.startswith(".. autosummary::"):
            listing = True
        elif line and not line.startswith(" "):
            listing = False
        elif listing and line.strip() and not line.strip().startswith(":"):
            names.append(f"{module}.{line.strip()}")
    return names


@pytest.mark.parametrize("name", referenced())
def test_every_name_in_the_reference_exists(name):
    home, _, short = name.rpartition(".")
    assert short in importlib.import_module(home).__all__


@pytest.mark.parametrize("home", HOMES)
def test_every_public_name_is_in_the_reference(home):
    listed = [
        getattr(importlib.import_module(name.rpartition(".")[0]), name.split(".")[-1])
        for name in referenced()
    ]
    module = importlib.import_module(home)
    missing = [
        name
        for name in module.__all__
        if name != "__version__"
        and not any(getattr(module, name) is known for known in listed)
    ]
    assert missing == []
