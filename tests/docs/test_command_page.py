"""The page on the command describes all commands, and its examples run."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from PIL import Image
from sklearn.datasets import load_sample_images
from typer.testing import CliRunner

from sktl.cli._app import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "command.rst").read_text()
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs").glob("*.rst"),
    *(ROOT / "docs" / "guide").glob("*.rst"),
]


def commands(group=None, path=()):
    """Yield the words of every command."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def command_lines(text):
    """Return the command lines in a text."""
    return re.findall(r"^ *\$ (sktl .*)$", text, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with the photographs of the examples."""
    for name, picture in zip(
        ("building", "flower"), load_sample_images().images, strict=True
    ):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            top, left = 96 * (i // 4), 128 * (i % 4)
            crop = Image.fromarray(picture[top : top + 128, left : left + 128])
            crop.save(tmp_path / "photos" / name / f"{i:02}.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_is_described(words):
    assert f".. command-help:: {' '.join(words)}\n" in PAGE


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_can_print_json(words):
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    assert any("--json" in param.opts for param in command.params)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_are_understood(page):
    lines = command_lines(page.read_text())
    for line in lines:
        command, (_, *words) = typer.main.get_command(app), shlex.split(line)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        # Raises for unknown options and missing arguments, and runs nothing.
        command.make_context(line, words)
    assert lines or page.name not in ("command.rst", "getting_started.rst")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_command_lines_run_in_order(folder):
    lines = [line for line in command_lines(PAGE) if not line.startswith("sktl demo")]
    assert len(lines) > 10
    for line in lines:
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, (line, result.output, result.exception)
    assert {"compare.html", "flowers.sktl", "photos.parquet"} <= {
        path.name for path in folder.iterdir()
    }
