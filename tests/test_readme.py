"""The examples, links and commands in the README work."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture
def photos(tmp_path):
    """Make the folder of photographs that the README uses."""
    rng = np.random.default_rng(0)
    for brightness, name in ((60, "night"), (180, "day")):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 60, (40, 50, 3), dtype=np.uint8) + brightness
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.jpg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_python_snippets_run_in_order(photos, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(snippets) >= 4
    names: dict = {}
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), names)
    assert names["search"].best_score_ > 0.9


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!http|#)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^make (\S+)", README, re.MULTILINE)
    assert {"demo", "test"} <= set(commands)
    assert [c for c in commands if f"\n{c}:" not in makefile] == []
