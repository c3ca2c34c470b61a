"""Pictures inside the page: small, and as data."""

from __future__ import annotations

import base64
import io
import os

import numpy as np
from PIL import Image

from sktl.images import ImageRows
from sktl.inspection._thumbnails import Thumbnails


class Pictures:
    """The images of X as pictures of the page.

    Parameters
    ----------
    rows : ImageRows
        The images.
    """

    def __init__(self, rows: ImageRows):
        self.rows = rows
        self._thumbnails = {side: Thumbnails(rows, side) for side in (48, 128)}

    def __getitem__(self, row: int) -> dict:
        """Return source, size and name of a picture of a row."""
        return self.at(row, 128)

    def at(self, row: int, side: int) -> dict:
        """Return a picture of at most 48 or 128 pixels."""
        return {**picture(self._thumbnails[side][int(row)]), **self.names(row)}

    def names(self, row: int) -> dict[str, str]:
        """Return what an image is called, and the end of it for below a picture."""
        name = self.name(row)
        return {"name": name, "short": os.path.basename(name)}

    def name(self, row: int) -> str:
        """Return what an image is called: the end of its path, or its row."""
        where = self.rows.where(int(row))
        _, path, label = where.partition(" (")
        if not path:
            return where
        return os.path.join(*label.rstrip(")").strip("'\"").split(os.sep)[-2:])


def picture(pixels: np.ndarray) -> dict:
    """Return pixels as a data URI; tiny ones are enlarged, square by square."""
    image = Image.fromarray(pixels)
    width, height = image.size
    times = max(1, 48 // max(width, height))
    if times > 1:
        image = image.resize((width * times, height * times), Image.Resampling.NEAREST)
    held = io.BytesIO()
    if times > 1:
        image.save(held, "PNG", optimize=True)
        kind = "png"
    else:
        image.save(held, "JPEG", quality=82)
        kind = "jpeg"
    data = base64.b64encode(held.getvalue()).decode()
    return {
        "src": f"data:image/{kind};base64,{data}",
        "width": image.width,
        "height": image.height,
    }
