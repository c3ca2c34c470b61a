"""``sktl embed``: images → a table of embeddings on disk, a block at a time."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from sktl._whole_file import whole_file
from sktl.cli import _options as options
from sktl.cli._embedding_files import WRITERS
from sktl.cli._failures import CommandError, questions_of_data, say
from sktl.cli._output import at_terminal, show_json, tell

# Rows that are in memory at once.
BLOCK = 1024
_MOST_NAMED = 5


def embed(
    images: Annotated[
        list[Path], typer.Argument(help="Images, and folders that hold images.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Where to: .parquet (path, label and a column for each feature), "
            ".npz (embeddings, paths, labels, feature_names) or .npy (embeddings).",
        ),
    ],
    backbone: options.Backbone = "pocket",
    weights: options.Weights = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", help="A stage whose output is wanted; may be repeated."
        ),
    ] = None,
    pool: Annotated[str, typer.Option(help="avg, max, avgmax or flatten.")] = "avg",
    image_size: options.ImageSize = None,
    on_error: Annotated[
        str, typer.Option(help="Unreadable images: raise, or nan for a row of NaN.")
    ] = "raise",
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Embed images with a frozen network, into a file.

    Embeddings go through the cache: what was interrupted goes on where it was,
    and what was embedded before is only read.
    """
    from sktl.cli._images import chunks, find_images, labels_of
    from sktl.engine import images_embedded
    from sktl.exceptions import UnreadableImageWarning
    from sktl.features import PretrainedFeatures

    if output.suffix not in WRITERS:
        raise CommandError(
            f"--output {str(output)!r} has to end in {', '.join(WRITERS)}."
        )
    if on_error not in ("raise", "nan"):
        raise typer.BadParameter(f"{on_error!r} is not raise or nan.")
    paths = find_images(images)
    started, before = time.perf_counter(), images_embedded()
    features = PretrainedFeatures(
        backbone,
        weights=options.weights_of(weights),
        layers=layers or None,
        pool=pool,
        image_size=image_size,
        cache=options.store(cache, no_cache),
        device=device,
        on_error="nan",
    )
    labels = labels_of(images, paths)
    bad: list[str] = []
    # Before the first image is read: the file and all settings are as they have to be.
    with whole_file(output) as partial, questions_of_data():
        features.fit(np.array(paths[:1], dtype=object))
        names = features.get_feature_names_out().tolist()
        writer = WRITERS[output.suffix](partial, len(paths), names, labels is not None)
        bar = tqdm(
            total=len(paths), desc=backbone, unit="image", disable=not at_terminal()
        )
        with writer, bar, warnings.catch_warnings():
            # All of them are named together at the end.
            warnings.simplefilter("ignore", UnreadableImageWarning)
            for start, block in enumerate(chunks(paths, BLOCK)):
                rows = features.transform(block)
                bad += block[np.isnan(rows).any(axis=1)].tolist()
                own = None
                if labels is not None:
                    own = labels[start * BLOCK : start * BLOCK + len(block)]
                writer.write(rows, block.tolist(), own)
                bar.update(len(block))
        if bad and on_error == "raise":
            raise CommandError(
                f"{_unreadable(bad, len(paths))}. Remove them, or pass --on-error nan; "
                "the others are embedded and will not be computed again."
            )
    if bad:
        say(f"{_unreadable(bad, len(paths))}; their rows are NaN.", "yellow")
    summary = {
        "output": str(output),
        "images": len(paths),
        "features": len(names),
        "backbone": features.info_.name,
        "embedded": images_embedded() - before,
        "unreadable": bad,
        "labels": labels is not None,
        "seconds": round(time.perf_counter() - started, 2),
    }
    if as_json:
        show_json(summary)
        return
    known = len(paths) - summary["embedded"] - len(bad)
    tell(
        f"{len(paths)} images, {len(names)} features of {features.info_.name} → "
        f"{output} ({summary['embedded']} embedded now, {known} known from before, "
        f"{summary['seconds']} s)"
    )


def _unreadable(bad: list[str], n: int) -> str:
    """Return words for the images that cannot be read."""
    named = ", ".join(map(repr, bad[:_MOST_NAMED]))
    more = f" and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
    return f"{len(bad)} of {n} images cannot be read: {named}{more}"
