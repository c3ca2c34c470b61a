"""The page: facts into HTML, everything escaped, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

import jinja2


def render(facts: dict) -> str:
    """Return the page for some facts."""
    loader = jinja2.PackageLoader("sktl.report", "page")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(score=_score, cost=_cost, percent=_percent, place=_place)
    style, script = _inline("page.css"), _inline("page.js")
    return environment.get_template("page.html").render(
        **facts,
        style=jinja2.utils.markupsafe.Markup(style),
        script=jinja2.utils.markupsafe.Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _inline(name: str) -> str:
    """Return a file of this package that goes into the page as it is."""
    return files("sktl.report").joinpath("page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash by which the page's own policy lets a block through."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _score(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _cost(value: float | None) -> str:
    """Return a cost with the digits that matter."""
    if value is None or value != value:
        return ""
    if value == 0:
        return "0"
    return f"{value:.2g}" if abs(value) < 1 else f"{value:,.{int(abs(value) < 10)}f}"


def _place(value: float) -> str:
    return f"{value:.1f}"
