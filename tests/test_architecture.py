"""The shape of the package: layers import downwards, and importing is cheap."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sktl"

# From the ground up; a module imports from its own layer and from those below it.
LAYERS = [
    {"exceptions", "_blas", "_extras", "_whole_file", "_wording"},
    {"images"},
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


def layer_of(module: str) -> int:
    """Return the level of ``sktl.<part>...``; the package itself is the roof."""
    parts = module.split(".")
    return LEVEL[parts[1]] if len(parts) > 1 else len(LAYERS)


def imported_modules(path: Path) -> set[str]:
    """Return every sktl module that the file imports, at any depth of nesting."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "sktl":
                found |= {f"sktl.{alias.name}" for alias in node.names}
            elif node.module:
                found.add(node.module)
    return {name for name in found if name.split(".")[0] == "sktl"}


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    return ".".join(("sktl", *path.relative_to(PACKAGE).with_suffix("").parts))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_modules_import_only_lower_layers(path):
    own = layer_of(module_name(path))
    too_high = {name for name in imported_modules(path) if layer_of(name) > own}
    assert not too_high


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


def test_every_public_name_loads():
    import sktl

    for name in sktl.__all__:
        assert getattr(sktl, name) is not None
        assert name in dir(sktl)


def test_unknown_name_is_an_attribute_error():
    import sktl

    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sktl.no_such_name
