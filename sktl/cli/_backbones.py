"""``sktl backbones``: a list of the networks."""

from __future__ import annotations

from typing import Annotated

import typer

from sktl.backbones import get_backbone, list_backbones
from sktl.cli import _options as options
from sktl.cli._terminal import show_json, show_table


def backbones(
    family: Annotated[
        str | None, typer.Option(help="List only this family, such as resnet.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="List only this source: bundled, own, torchvision or timm."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the networks, with year, size and published accuracy."""
    records = []
    for name in list_backbones(family=family, source=source):
        info = get_backbone(name)
        record: dict = {
            "name": name,
            "family": info.family,
            "year": info.year,
            "pixels": info.recipe.size[0],
            "features": info.n_features,
            "params/M": round(info.n_parameters / 1e6, 2),
            "top-1/%": info.top1,
        }
        if as_json:
            record |= {"source": info.source, "stages": info.stages}
        records.append(record)
    if as_json:
        show_json(records)
    else:
        show_table(records, f"{len(records)} backbones")
