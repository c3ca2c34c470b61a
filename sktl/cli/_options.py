"""Options that several commands have, with one meaning in all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sktl.cli._failures import CommandError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Backbone = Annotated[
    str, typer.Option("--backbone", "-b", help="The network; see sktl backbones.")
]
Backbones = Annotated[
    list[str],
    typer.Option(
        "--backbone", "-b", help="A network; give the option again for each more."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="A weights name or a file (.pth, .safetensors); 'none' draws them at "
        "random. The published weights by default."
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(min=8, help="Pixels of the side that the network sees."),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder in which embeddings are kept, so that an interrupted or repeated "
        "run goes on where it was; the user's cache folder by default."
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no embeddings.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Seed = Annotated[int, typer.Option(min=0, help="Draws folds and whatever is drawn.")]


def store(cache: Path | None, no_cache: bool):
    """Return what ``cache=`` of the estimators is to be."""
    from sktl.engine import EmbeddingStore

    if no_cache and cache is not None:
        raise CommandError("--cache and --no-cache exclude each other.")
    return None if no_cache else EmbeddingStore(cache)


def weights_of(weights: str | None) -> str | None:
    """Return what ``weights=`` of the estimators is to be."""
    if weights is None:
        return "default"
    return None if weights == "none" else weights


def weights_by_name(weights: list[str] | None, backbones: list[str]) -> dict | str:
    """Return the weights of several networks, given as NAME=WEIGHTS."""
    found = {}
    for text in weights or ():
        name, given, value = text.partition("=")
        if given and name in backbones:
            found[name] = weights_of(value)
        elif len(backbones) == 1:
            found[backbones[0]] = weights_of(text)
        else:
            raise CommandError(
                f"--weights {text!r} does not say for which of the networks "
                f"({', '.join(backbones)}) it is. Write --weights NAME={text}."
            )
    return found or "default"
