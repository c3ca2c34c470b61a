"""What the project's own files say of one another is true."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import sktl

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_oldest_versions_are_the_lowest_that_are_allowed(project):
    extras = project["optional-dependencies"]
    required = [*project["dependencies"], *extras["timm"], *extras["openvino"]]
    required += [*extras["parquet"], *extras["viz"]]
    lowest = dict(re.split(">=|==", requirement) for requirement in required)
    pinned = (ROOT / "tests" / "oldest.txt").read_text()
    oldest = dict(re.findall(r"^([\w-]+)==(\S+)$", pinned, re.MULTILINE))
    assert set(lowest) <= set(oldest)
    for name, version in lowest.items():
        parts = oldest[name].split(".")
        assert parts[: len(version.split("."))] == version.split("."), name


def test_the_version_is_the_same_in_both_places(project):
    assert project["version"] == sktl.__version__


def test_every_target_of_make_is_described():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [t for t in phony[1].split() if f"make {t}`" not in text] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda path: path.name
)
def test_what_benchmarks_import_from_sktl_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        module = getattr(node, "module", None) or ""
        if module.split(".")[0] != "sktl" or module.endswith("_openvino_runner"):
            continue
        found = importlib.import_module(module)
        assert [a.name for a in node.names if not hasattr(found, a.name)] == []
