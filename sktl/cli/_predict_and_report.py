"""``sktl predict`` and ``sktl report``: what a saved model makes of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from sktl._whole_file import check_writable
from sktl.cli import _options as options
from sktl.cli._image_arguments import blocks, cannot_be_read, find_images
from sktl.cli._terminal import (
    CommandError,
    complain,
    progress_wanted,
    show_csv,
    show_json,
    show_line,
    show_table,
    unreadable,
)
from sktl.datasets import load_image_folder
from sktl.exceptions import UnreadableImageError

_BLOCK = 512
_CODE = """\
import numpy as np
from sktl.datasets import load_image_folder
from sktl.persistence import load_model

model = load_model({model!r})
data = load_image_folder({folder!r})
data = data.get("test", data)
y = np.array(data.target_names)[data.target]
print(model.score(data.paths, y))"""


def predict(
    model: options.Model,
    images: options.Images,
    weights: options.MovedWeights = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV instead of text.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Predict the classes of images with a saved model.

    Unreadable images do not stop the others from being predicted. They are
    listed at the end, and the exit code is 1.
    """
    from sktl.persistence import describe_model, load_model

    if as_csv and as_json:
        raise CommandError("Pass either --csv or --json, not both.")
    names = describe_model(model)["class_names"]
    paths = find_images(images)
    records, bad = [], []
    estimator = load_model(model, weights=weights)
    if not hasattr(estimator, "predict"):
        raise CommandError(f"{str(model)!r} holds a transformer: it cannot predict.")
    with tqdm(total=len(paths), unit="image", disable=not progress_wanted()) as bar:
        for block in blocks(paths, _BLOCK):
            try:
                records += _predictions(estimator, block, names)
            except UnreadableImageError:
                failed = cannot_be_read(block)
                bad += block[failed].tolist()
                if not failed.all():
                    records += _predictions(estimator, block[~failed], names)
            bar.update(len(block))
    if as_json:
        show_json(records)
    elif as_csv:
        show_csv([_flat(record) for record in records])
    elif records:
        for record in records:
            record.pop("probabilities", None)
            if "probability" in record:
                record["probability"] = f"{record['probability']:.3f}"
        show_table(records, f"Predictions of {model.name}")
    if bad:
        complain(f"{unreadable(bad, len(paths))}.")
        raise typer.Exit(1)


def report(
    model: options.Model,
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder with a folder of images per class, on which the model was "
            "not trained. If it has a test folder, only that is used."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML file to write.")
    ] = Path("report.html"),
    weights: options.MovedWeights = None,
    skip_unreadable: options.SkipUnreadable = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a report on how well a saved model classifies labelled images.

    It shows the accuracy, which classes are confused, the worst mistakes as
    pictures, a map of the images, and where in the images the model looks.
    """
    from sktl.persistence import load_model
    from sktl.report import write_model_report

    check_writable(output)
    data = load_image_folder(folder)
    source, skipped = str(folder), data.skipped
    if "test" in data:
        data, source = data.test, f"{folder} (test)"
    paths, y = data.paths, np.array(data.target_names)[data.target]
    bad = cannot_be_read(paths) if skip_unreadable else np.zeros(len(paths), dtype=bool)
    left_out = paths[bad].tolist()
    accuracy = write_model_report(
        output,
        load_model(model, weights=weights),
        paths[~bad],
        y[~bad],
        source=source,
        skipped=skipped,
        unreadable=left_out,
        code=_CODE.format(model=str(model), folder=str(folder)),
    )
    n = len(y) - len(left_out)
    if as_json:
        facts = {"model": model, "images": n, "accuracy": accuracy}
        show_json({**facts, "unreadable": left_out, "written": {"report": output}})
    else:
        show_line(f"{n} images, accuracy {accuracy:.3f}. Report written to {output}.")


def _predictions(estimator, paths: np.ndarray, names: list[str] | None) -> list[dict]:
    """Return a record for each image."""
    predicted = estimator.predict(paths).tolist()
    records = [
        {"path": path, "predicted": value}
        for path, value in zip(paths.tolist(), predicted, strict=True)
    ]
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return records
    label = dict(zip(classes.tolist(), names or classes.tolist(), strict=True))
    for record in records:
        record["predicted"] = label[record["predicted"]]
    if hasattr(estimator, "predict_proba"):
        rows = estimator.predict_proba(paths).astype(float).tolist()
        for record, row in zip(records, rows, strict=True):
            record["probability"] = max(row)
            shares = zip(map(str, label.values()), row, strict=True)
            record["probabilities"] = dict(shares)
    return records


def _flat(record: dict) -> dict:
    """Return a record for CSV, with a column for the probability of each class."""
    flat = dict(record)
    shares = flat.pop("probabilities", {})
    return flat | {f"p({name})": share for name, share in shares.items()}
