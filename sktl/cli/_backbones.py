"""``sktl backbones``: the networks there are."""

from __future__ import annotations

from typing import Annotated

import typer

from sktl.backbones import get_backbone, list_backbones
from sktl.cli import _options as options
from sktl.cli._output import show


def backbones(
    family: Annotated[
        str | None, typer.Option(help="Only this family, such as resnet.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Only from here: bundled, own, torchvision or timm."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the networks, with size, year and published accuracy."""
    try:
        names = list_backbones(family=family, source=source)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    records = []
    for name in names:
        info = get_backbone(name)
        record = {
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
    show(records, f"{len(records)} backbones", as_json)
