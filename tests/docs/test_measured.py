"""The figures on the site are those of committed results, and none is missing."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
PAGE = (ROOT / "docs" / "guide" / "measured.rst").read_text()


@pytest.fixture(scope="module")
def tables():
    """Return the module that turns results into tables."""
    path = ROOT / "docs" / "_ext" / "result_tables.py"
    spec = importlib.util.spec_from_file_location("result_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def committed(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_is_on_the_page_as_a_table(path, tables):
    assert f".. measured:: {path.stem}\n" in PAGE
    lines = tables.shown(path.stem, json.loads(path.read_text()))
    assert lines[0] == ".. list-table::"
    first_cells = [line for line in lines if line.startswith("   * -")]
    assert len(first_cells) > 3


def test_the_guide_quotes_the_gain_of_views_as_measured():
    guide = (ROOT / "docs" / "guide" / "feature_extraction.rst").read_text()
    table = guide.partition("SVM: image alone, 4 views\n")[2].partition("\n\n")[0]
    cells = re.findall(r"^ +\*? *- (.*)$", table, re.MULTILINE)
    assert len(cells) == 12 * 6
    sets = {"satellite tiles": "eurosat", "cats and dogs": "cats_vs_dogs"}
    keys = ["light", "shift", "rotat", "vertical_flip"]
    for k in range(0, len(cells), 6):
        images, network, augment, labels, *quoted = cells[k : k + 6]
        augment = augment.replace("both flips", "vertical_flip")
        measured = [
            f"{row['image alone']:.1f}, {row['4 views']:.1f}"
            for row in committed("frozen_views")["table"]
            if row["set"] == sets.get(images, images.lower())
            and row["network"] == network.strip("`")
            and row["labels per class"] == int(labels)
            and all((key in row["augment"]) == (key in augment) for key in keys)
        ]
        assert quoted == measured


def test_every_benchmark_on_the_page_has_a_script():
    names = re.findall(r"^\.\. measured:: (\w+)$", PAGE, re.MULTILINE)
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert {name.removesuffix("_gpu") for name in names} <= scripts


def test_networks_stand_side_by_side_at_the_largest_batch(tables):
    rows = [
        {"network": n, "batch": b, "contender": c, "images/s": speed, "x naive": ratio}
        for n, b, c, speed, ratio in [
            ("resnet18", 1, "naive", 9.0, 1.0),
            ("resnet18", 32, "naive", 20.0, 1.0),
            ("resnet18", 32, "sktl", 30.0, 1.5),
            ("pocket", 32, "sktl", 1234.5, None),
        ]
    ]
    cells = [
        line.split("- ", 1)[1:] for line in tables.shown("throughput", {"rows": rows})
    ]
    texts = [cell[0] for cell in cells if cell]
    assert texts == [
        *("images/s", "resnet18", "pocket"),
        *("naive", "20 (1.00 x)"),
        *("sktl", "30 (1.50 x)", "1,234"),
    ]


def test_a_result_of_another_form_is_shown_as_it_is(tables):
    assert tables.shown("search", {"surprise": 1})[0] == ".. code-block:: json"


def test_markup_in_a_cell_is_escaped(tables):
    rows = [{"*what*_it": "a|b", "x": {"median": 2.0, "low": 1.0, "high": 3.0}}]
    assert tables.shown("scale", {"rows": rows})[4:] == [
        "   * - \\*what\\* it",
        "     - x",
        "   * - a\\|b",
        "     - 2 (1-3)",
    ]


def test_the_guide_says_what_was_measured():
    """The text of docs/guide/what_it_is.rst around the tables is true."""
    described = ("set", "features", "seconds")
    best = {
        (row["set"], row["features"]): max(
            score for head, score in row.items() if head not in described
        )
        for row in committed("frozen_features")["table"]
    }
    plain = ("32 x 32 colour pixels", "colour histogram")
    for images in ("cats_vs_dogs", "eurosat"):
        baseline = max(best[images, name] for name in plain)
        assert best[images, "pocket"] > baseline + 15
    # On photographs, the architecture alone is worth nothing, and ImageNet a lot.
    assert best["cats_vs_dogs", "squeezenet1_0 untrained"] < 66.5
    assert best["cats_vs_dogs", "squeezenet1_0"] > best["cats_vs_dogs", "pocket"] + 5
    # On satellite tiles, SqueezeNet is no better.
    assert abs(best["eurosat", "squeezenet1_0"] - best["eurosat", "pocket"]) < 1
    lite = "efficientnet_lite0"
    assert best["cats_vs_dogs", lite] >= 98
    assert best["eurosat", lite] >= max(92, best["eurosat", "pocket"] + 3)
    recipes = {
        (row["backbone"], row["recipe"]): row
        for row in committed("study_head")["summary"]
    }
    probe, usual = (
        recipes["efficientnet_lite0", name]
        for name in ("ProbeClassifier", "StandardScaler, SVC")
    )
    every = recipes["efficientnet_lite0", "all stages evened, ProbeClassifier"]
    assert (probe["mean accuracy"], every["mean accuracy"]) == (89.9, 90.6)
    assert (usual["mean accuracy"], round(usual["worst gap"])) == (83.8, -26)
    assert probe["worst gap"] > -0.9
    for small in ("squeezenet1_0", "pocket"):
        assert recipes[small, "ProbeClassifier"]["worst gap"] > -2.3
    for row in committed("few_labels")["means"][1:]:
        others = [
            value for name, value in row.items() if name.startswith(("N", "S", "L"))
        ]
        assert row["ProbeClassifier"] >= max(others) - 0.1
    accuracy = committed("finetune_accuracy")
    for images, gain in (("eurosat", 0.05), ("cats_vs_dogs", 0.02)):
        found = {name: row["accuracy"] for name, row in accuracy[images].items()}
        tuned = found["fine-tuned, unfreeze by CV"]
        assert tuned - found["frozen, logistic regression"] == pytest.approx(
            gain, abs=0.01
        )
        # The usual recipes end below the frozen network.
        assert found["plain loop, SGD, all layers"] < 0.51
        assert (
            found["plain loop, AdamW, all layers"]
            < found["frozen, logistic regression"]
        )
    study = committed("study_finetune_defaults")
    assert (
        study["eurosat"]["lr=3e-4"]["accuracy"]
        < (study["eurosat"]["frozen probe"]["accuracy"])
    )
    digits = {k: sum(v["accuracy"]) / 3 for k, v in study["digits"].items()}
    assert abs(digits["base"] - digits["frozen probe"]) < 0.005
    assert digits["light, 4 views"] < digits["frozen probe"]


def test_no_page_has_a_gap_to_be_filled():
    pages = [*(ROOT / "docs").rglob("*.rst"), *(ROOT / "docs").rglob("*.md")]
    pages = [p for p in pages if "_build" not in p.parts] + [ROOT / "README.md"]
    gaps = {p.name: re.findall(r"@[A-Z0-9]+@", p.read_text()) for p in pages}
    assert {name: found for name, found in gaps.items() if found} == {}
