"""``sktl predict``: a model file and images → what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from sktl.cli import _options as options
from sktl.cli._failures import CommandError, questions_of_data, say
from sktl.cli._output import at_terminal, show_csv, show_json, show_table

BLOCK = 512
_MOST_NAMED = 5


def predict(
    model: Annotated[Path, typer.Argument(help="A model file, from sktl train.")],
    images: Annotated[
        list[Path], typer.Argument(help="Images, and folders that hold images.")
    ],
    weights: options.Weights = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Predict the classes of images with a saved model.

    Unreadable images are named at the end, and make the exit code 1; the others
    are predicted all the same.
    """
    from sktl.cli._images import chunks, find_images, unreadable_among
    from sktl.exceptions import UnreadableImageError
    from sktl.persistence import describe_model, load_model

    if as_csv and as_json:
        raise CommandError("--csv and --json exclude each other.")
    names = describe_model(model)["class_names"]
    paths = find_images(images)
    with questions_of_data():
        estimator = load_model(model, weights=weights)
        if not hasattr(estimator, "predict"):
            raise CommandError(
                f"{str(model)!r} is a transformer, not a model that predicts. Use it "
                "from Python: sktl.persistence.load_model."
            )
        records, bad = [], []
        with tqdm(total=len(paths), unit="image", disable=not at_terminal()) as bar:
            for block in chunks(paths, BLOCK):
                try:
                    records += _predictions(estimator, block, names)
                except UnreadableImageError:
                    unreadable = unreadable_among(block)
                    bad += block[unreadable].tolist()
                    if not unreadable.all():
                        records += _predictions(estimator, block[~unreadable], names)
                bar.update(len(block))
    if as_json:
        show_json(records)
    elif as_csv:
        show_csv([_flat(record) for record in records])
    elif records:
        show_table(
            [_brief(record) for record in records], f"Predictions of {model.name}"
        )
    if bad:
        named = ", ".join(map(repr, bad[:_MOST_NAMED]))
        more = f" and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
        say(f"{len(bad)} of {len(paths)} images cannot be read: {named}{more}.")
        raise typer.Exit(1)


def _predictions(estimator, paths: np.ndarray, names: list[str] | None) -> list[dict]:
    """Return a record for each image."""
    predicted = estimator.predict(paths)
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return [
            {"path": path, "predicted": value}
            for path, value in zip(paths.tolist(), predicted.tolist(), strict=True)
        ]
    label = dict(zip(classes.tolist(), names or classes.tolist(), strict=True))
    records = [
        {"path": path, "predicted": label[value]}
        for path, value in zip(paths.tolist(), predicted.tolist(), strict=True)
    ]
    if hasattr(estimator, "predict_proba"):
        for record, row in zip(records, estimator.predict_proba(paths), strict=True):
            shares = row.astype(float).tolist()
            record["probability"] = max(shares)
            record["probabilities"] = {
                str(name): share
                for name, share in zip(label.values(), shares, strict=True)
            }
    return records


def _flat(record: dict) -> dict:
    """Return a record for CSV: a column for the probability of each class."""
    flat = {k: v for k, v in record.items() if k != "probabilities"}
    for name, share in record.get("probabilities", {}).items():
        flat[f"p({name})"] = share
    return flat


def _brief(record: dict) -> dict:
    """Return a record for people."""
    brief = {"image": record["path"], "predicted": str(record["predicted"])}
    if "probability" in record:
        brief["probability"] = f"{record['probability']:.3f}"
    return brief
