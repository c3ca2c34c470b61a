"""The shape of the package: layers, no circles, few lines; importing it is cheap."""

import ast
import graphlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import sktl

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "sktl"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up; a module imports from its own layer and from those below it.
LAYERS = [
    {
        *("exceptions", "_blas", "_extras", "_validate_params", "_whole_file"),
        *("_warn_caller", "_wording"),
    },
    {"images", "heads"},
    {"store"},
    {"backbones"},
    {"engine"},
    {"features", "finetune"},
    {"datasets", "model_selection", "persistence"},
    {"inspection"},
    {"report"},
    {"cli"},
]
# Within a layer, and where a higher layer needs only the ground, no order is set.
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def name_of(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = ("sktl", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes below ``node``, without what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from (other, *executed(other))
        else:
            yield from (child, *executed(child))


def imported_modules(path: Path) -> set[str]:
    """Return the modules of sktl that a file imports, also inside functions."""
    found = set()
    for node in executed(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return {name for name in found if name.split(".")[0] == "sktl"}


def level_of(module: str) -> int:
    """Return the layer of a module; the package itself is the roof."""
    parts = module.split(".")
    return LEVEL[parts[1]] if len(parts) > 1 else len(LAYERS)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "sktl"])
def test_modules_import_only_lower_layers(name):
    imported = imported_modules(MODULES[name])
    assert {other for other in imported if level_of(other) > level_of(name)} == set()


def test_modules_import_one_another_in_no_circle():
    """Not between files of one folder either, nor inside functions."""
    graph = {name: imported_modules(path) - {name} for name, path in MODULES.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("circle: " + " <- ".join(error.args[1]))


def test_the_names_of_private_modules_are_unique():
    stems = Counter(path.stem for path in FILES if path.stem.startswith("_"))
    del stems["__init__"]
    assert [name for name, count in stems.items() if count > 1] == []


def test_the_package_stays_small():
    """A reader can know all of it. A new feature makes room by simplifying another.

    18,500 lines were enough until the heads, the views of frozen features, the default
    network and the search for moved copies came, which replaced little.
    """
    lines = {path: len(path.read_text().splitlines()) for path in FILES}
    total = sum(lines.values())
    assert total <= 20_800
    assert {name_of(path): n for path, n in lines.items() if n > 700} == {}


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=lambda folder: folder.name)
def test_no_banner_divides_a_file(folder):
    """A file that needs headings is two files."""
    banner = re.compile(r"^\s*#(\s*[-=*#]{3,}|.*[-=*#]{4,}\s*$)", re.MULTILINE)
    paths = sorted(folder.rglob("*.py"))
    assert [str(path) for path in paths if banner.search(path.read_text())] == []


def run_python(code: str) -> str:
    """Run ``code`` in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_import_is_cheap_and_loads_nothing_heavy():
    code = (
        "import time, sys; t = time.perf_counter(); import sktl;"
        "import json; print(json.dumps([time.perf_counter() - t, list(sys.modules)]))"
    )
    seconds, modules = json.loads(run_python(code))
    heavy = {"torch", "torchvision", "sklearn", "skorch", "scipy", "numpy", "PIL"}
    assert not heavy & set(modules)
    # The best of three, for a machine that is busy with something else.
    if seconds > 0.15:
        seconds = min(json.loads(run_python(code))[0] for _ in range(3))
    assert seconds < 0.15


def test_dir_shows_the_public_names_and_nothing_else():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    subpackages = {*folders, "exceptions"} - {"cli"}  # the command has its own manual
    assert set(dir(sktl)) == {*sktl.__all__, *subpackages}
    for name in dir(sktl):
        assert getattr(sktl, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sktl.no_such_name
