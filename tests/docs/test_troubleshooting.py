"""The page on messages knows every error, and quotes what the code really says."""

import ast
import re
from pathlib import Path

import pytest

import sktl.exceptions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide" / "troubleshooting.rst").read_text()


def texts():
    """Return all texts of the package, with ``...`` for what is filled in."""
    found = []
    for path in (ROOT / "sktl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        part.value if isinstance(part, ast.Constant) else "..."
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return [" ".join(text.split()) for text in found]


def quoted():
    """Return the messages that the page has as headings and in its table."""
    headings = re.findall(r"^(.+)\n-{3,}$", PAGE, re.MULTILINE)
    table = PAGE[PAGE.index("* - it says") :]
    cells = re.findall(r"\* - (.*?)\n     - ", table, re.DOTALL)
    own = ("Warnings", "It works, but badly", "it says")
    return [" ".join(text.split()) for text in headings + cells if text not in own]


def matches(message, text):
    """Tell whether a text has the pieces of a message in their order."""
    pieces = [piece.strip(" ,:") for piece in message.split("...")]
    return re.search(".*?".join(map(re.escape, filter(None, pieces))), text)


@pytest.fixture(scope="module")
def said():
    return texts()


@pytest.mark.parametrize("message", quoted())
def test_the_code_says_what_the_page_quotes(message, said):
    assert any(matches(message, text) for text in said)


@pytest.mark.parametrize("name", sktl.exceptions.__all__)
def test_every_error_and_warning_is_on_the_page(name):
    assert name in PAGE
