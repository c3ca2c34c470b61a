"""The page: HTML from sections, all text escaped, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import os
from datetime import datetime, timezone
from importlib.resources import files

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from sktl._wording import cost
from sktl.images import ImageRows
from sktl.inspection import Thumbnails


def render(question: str, source: str, sections: dict) -> str:
    """Return the page with some sections, under a question about a source of images."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sktl.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        score=_or_nothing("{:.3f}".format),
        percent=_or_nothing("{:.0%}".format),
        cost=_or_nothing(cost),
        place="{:.1f}".format,
        picture=picture,
    )
    return environment.get_template("page.html").render(
        **sections,
        question=question,
        source=source,
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        version=importlib.metadata.version("sktl"),
        style=_block("page.css"),
        script=_block("page.js"),
    )


class Pictures:
    """Images as pictures for the page, at most ``side`` pixels wide and high."""

    def __init__(self, images: ImageRows, side: int = 128):
        self._images = images
        self._thumbnails = Thumbnails(images, side)

    def __getitem__(self, row: int) -> dict:
        """Return source, size and name of a picture."""
        return {**picture(self._thumbnails[int(row)]), **self.name(int(row))}

    def name(self, row: int) -> dict[str, str]:
        """Return the end of an image's path, or its row, and a short form of that."""
        where = self._images.where(row)
        _, path, label = where.partition(" (")
        if not path:
            return {"name": where, "short": where}
        parts = label.rstrip(")").strip("'\"").split(os.sep)
        return {"name": os.path.join(*parts[-2:]), "short": parts[-1]}


def picture(pixels: np.ndarray) -> dict:
    """Return pixels as a data URI; tiny ones are enlarged, square by square."""
    image = Image.fromarray(pixels)
    held = io.BytesIO()
    times = 48 // max(image.size)
    if times > 1:
        size = image.width * times, image.height * times
        image = image.resize(size, Image.Resampling.NEAREST)
        image.save(held, "PNG", optimize=True)
    else:
        image.save(held, "JPEG", quality=82)
    kind = "png" if times > 1 else "jpeg"
    data = base64.b64encode(held.getvalue()).decode()
    source = f"data:image/{kind};base64,{data}"
    return {"src": source, "width": image.width, "height": image.height}


def _or_nothing(write):
    """Return a filter that writes numbers, and nothing for None and NaN."""
    return lambda value: "" if value is None or value != value else write(value)


def _block(name: str) -> tuple[Markup, str]:
    """Return a file of this package, and its hash for the policy of the page."""
    text = files("sktl.report").joinpath("page", name).read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).digest()
    return Markup(text), f"sha256-{base64.b64encode(digest).decode()}"
