"""Arguments and options that several commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sktl.cli._terminal import CommandError

if TYPE_CHECKING:
    from sktl.store import EmbeddingStore

ClassFolder = Annotated[
    Path,
    typer.Argument(
        help="A folder with a folder of images per class, or with train and test "
        "folders of that form."
    ),
]
Images = Annotated[list[Path], typer.Argument(help="Images, or folders of images.")]
Model = Annotated[Path, typer.Argument(help="A model file, written by sktl train.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Backbone = Annotated[
    str, typer.Option("--backbone", "-b", help="The network; sktl backbones lists all.")
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="The name of published weights, a file (.pth, .safetensors), or none for "
        "random weights. By default the usual published weights."
    ),
]
MovedWeights = Annotated[
    str | None, typer.Option(help="Where the weights file is, if it has moved.")
]
ImageSize = Annotated[
    int | None,
    typer.Option(min=8, help="Resize images to this height and width in pixels."),
]
MaxEpochs = Annotated[int | None, typer.Option(min=1, help="Epochs of fine-tuning.")]
Folds = Annotated[int, typer.Option("--cv", min=2, help="Folds of cross-validation.")]
PerClass = Annotated[
    int | None, typer.Option(min=1, help="Use at most this many images per class.")
]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Skip unreadable images.")
]
Report = Annotated[
    Path | None, typer.Option(help="Write an HTML report with pictures to this file.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="The folder that keeps embeddings, for runs that are interrupted or "
        "repeated. By default SKTL_CACHE_DIR or the user's cache folder."
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do not keep embeddings.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Seed = Annotated[int, typer.Option(min=0, help="The random seed.")]


def store(cache: Path | None, no_cache: bool) -> EmbeddingStore | None:
    """Return the value of ``cache=`` for estimators."""
    from sktl.store import EmbeddingStore

    if no_cache and cache is not None:
        raise CommandError("Pass either --cache or --no-cache, not both.")
    return None if no_cache else EmbeddingStore(cache)


def weights_of(weights: str | None) -> str | None:
    """Return the value of ``weights=`` for an estimator."""
    if weights is None:
        return "default"
    return None if weights == "none" else weights
