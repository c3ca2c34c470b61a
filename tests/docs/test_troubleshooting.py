"""The page on messages names every error, and quotes what the code says.

The page quotes the stable beginnings of messages, with ``...`` for what is filled in. A
failure here names the text of the code that is most like the quote.
"""

import ast
import difflib
import re
from pathlib import Path

import pytest

import sktl.exceptions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide" / "troubleshooting.rst").read_text()
OWN_HEADINGS = {"Warnings", "Poor results without an error"}


def quotes():
    """Return the messages that the page has as headings and in its table."""
    headings = set(re.findall(r"^(.+)\n-{3,}$", PAGE, re.MULTILINE)) - OWN_HEADINGS
    table = PAGE[PAGE.index("     - meaning\n") :]
    cells = re.findall(r"^   \* - (.*?)\n     - ", table, re.DOTALL | re.MULTILINE)
    return [" ".join(text.split()) for text in [*sorted(headings), *cells]]


@pytest.fixture(scope="module")
def strings():
    """Return all strings of the package, with ``...`` for what is filled in."""
    found = []
    for path in (ROOT / "sktl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(part, "value", None) for part in node.values]
                texts = [part if isinstance(part, str) else "..." for part in parts]
                found.append("".join(texts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return [" ".join(text.split()) for text in found]


@pytest.mark.parametrize("quote", quotes())
def test_the_code_says_what_the_page_quotes(quote, strings):
    """Each piece by itself, since some messages are put together from two strings."""
    for piece in filter(None, (part.strip(" ,:.") for part in quote.split("..."))):
        if not any(piece in text for text in strings):
            closest = difflib.get_close_matches(quote, strings, n=1, cutoff=0.3)
            pytest.fail(f"{piece!r} is in no message; the closest is {closest}")


@pytest.mark.parametrize("name", sktl.exceptions.__all__)
def test_every_error_and_warning_is_on_the_page(name):
    assert name in PAGE
