"""``sktl embed``: images → a file of embeddings."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from sktl._extras import import_extra
from sktl._whole_file import whole_file
from sktl.cli import _options as options
from sktl.cli._terminal import (
    CommandError,
    complain,
    progress_wanted,
    show_json,
    show_line,
    unreadable,
)

# Rows in memory at once.
_BLOCK = 1024
_SUFFIXES = (".parquet", ".npz", ".npy")


def embed(
    images: options.Images,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file to write: .parquet (path, label and a column per feature), "
            ".npz (embeddings, paths, labels and feature_names) or .npy (embeddings).",
        ),
    ],
    backbone: options.Backbone = "efficientnet_lite0",
    weights: options.Weights = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            help="A stage whose output to use instead of the embedding. Repeat the "
            "option for more.",
        ),
    ] = None,
    pool: Annotated[
        str, typer.Option(help="How to pool feature maps: avg, max, avgmax or flatten.")
    ] = "avg",
    image_size: options.ImageSize = None,
    on_error: Annotated[
        str, typer.Option(help="For unreadable images: raise, or nan for NaN rows.")
    ] = "raise",
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Turn images into embeddings of a frozen network and write them to a file.

    Embeddings are also kept in the cache, so an interrupted run continues where
    it stopped.
    """
    from sktl.cli._image_arguments import blocks, find_images, labels_of
    from sktl.engine import images_embedded
    from sktl.exceptions import UnreadableImageWarning
    from sktl.features import PretrainedFeatures

    if output.suffix not in _SUFFIXES:
        raise CommandError(f"{str(output)!r} must end in {', '.join(_SUFFIXES)}.")
    if output.suffix == ".parquet":
        import_extra("pyarrow.parquet", "parquet", "A .parquet file")
    if on_error not in ("raise", "nan"):
        raise typer.BadParameter(f"--on-error {on_error!r} is neither raise nor nan.")
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
    labels, bad = labels_of(images, paths), []
    # The output file and all settings are checked before the first image is read.
    with whole_file(output) as partial:
        features.fit(np.array(paths[:1], dtype=object))
        names = features.get_feature_names_out().tolist()
        bar = tqdm(total=len(paths), unit="image", disable=not progress_wanted())
        # On disk, so that memory holds one block however many images there are.
        with tempfile.TemporaryFile(dir=partial.parent) as scratch, bar:
            rows = np.memmap(scratch, dtype="<f4", shape=(len(paths), len(names)))
            done = 0
            for block in blocks(paths, _BLOCK):
                with warnings.catch_warnings():  # they are listed at the end
                    warnings.simplefilter("ignore", UnreadableImageWarning)
                    part = features.transform(block)
                rows[done : done + len(part)] = part
                bad += block[np.isnan(part).any(axis=1)].tolist()
                done += len(part)
                bar.update(len(part))
            if bad and on_error == "raise":
                raise CommandError(
                    f"{unreadable(bad, len(paths))}. Remove them, or pass --on-error "
                    "nan; the other images are embedded and in the cache."
                )
            _write(partial, rows, paths, labels, names)
    if bad:
        complain(f"{unreadable(bad, len(paths))}; their rows are NaN.", "yellow")
    embedded = images_embedded() - before
    seconds = round(time.perf_counter() - started, 2)
    if as_json:
        summary = {"output": output, "images": len(paths), "features": len(names)}
        summary |= {"backbone": features.info_.name, "embedded": embedded}
        summary |= {"unreadable": bad, "labels": labels is not None, "seconds": seconds}
        show_json(summary)
    else:
        cached = len(paths) - embedded - len(bad)
        show_line(
            f"{len(paths)} images, {len(names)} features of {features.info_.name}: "
            f"{embedded} computed, {cached} from the cache."
        )
        show_line(f"Embeddings written to {output}. Done in {seconds} s.")


def _write(path: Path, rows: np.ndarray, paths, labels, names: list[str]) -> None:
    """Write embeddings in the format that the suffix says."""
    columns = {"path": _unicode(paths)}
    if labels is not None:
        columns["label"] = _unicode(labels)
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        arrays: dict = {f"{name}s": column for name, column in columns.items()}
        np.savez(path, embeddings=rows, feature_names=names, **arrays)
    else:
        import pyarrow
        from pyarrow import parquet

        types = dict.fromkeys(columns, pyarrow.string())
        schema = pyarrow.schema(types | dict.fromkeys(names, pyarrow.float32()))
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for start in range(0, len(rows), _BLOCK):
                part = slice(start, start + _BLOCK)
                parts = [column[part] for column in columns.values()] + [*rows[part].T]
                writer.write_table(pyarrow.table(parts, schema=schema))


def _unicode(texts: list[str]) -> list[str]:
    """Return texts that any file can hold: bytes that are not Unicode stay visible."""
    return [text.encode("utf-8", "backslashreplace").decode() for text in texts]
