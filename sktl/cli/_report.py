"""``sktl report``: a model file and labelled images → a page about both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sktl.cli import _options as options
from sktl.cli._failures import questions_of_data
from sktl.cli._output import show_json, tell


def report(
    model: Annotated[Path, typer.Argument(help="A model file, from sktl train.")],
    folder: Annotated[
        Path,
        typer.Argument(
            help="Images that it was not trained on: one folder for each class, or "
            "train and test folders of such, of which the test folder is taken."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page to write.")
    ] = Path("report.html"),
    weights: options.Weights = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave unreadable images out.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a page about what a saved model makes of labelled images.

    Its accuracy, what it confuses, its worst mistakes as pictures, a map of the
    images, and where it looks.
    """
    from sktl._whole_file import check_writable
    from sktl.cli._images import unreadable_among
    from sktl.datasets import load_image_folder
    from sktl.persistence import load_model
    from sktl.report import write_model_report

    check_writable(output)
    data = load_image_folder(folder)
    source, skipped = str(folder), data.skipped
    if "test" in data:
        data, source = data.test, f"{folder} (test)"
    paths, y = data.paths, np.array(data.target_names)[data.target]
    unreadable: list[str] = []
    if skip_unreadable:
        bad = unreadable_among(paths)
        unreadable, paths, y = paths[bad].tolist(), paths[~bad], y[~bad]
    with questions_of_data():
        estimator = load_model(model, weights=weights)
        accuracy = write_model_report(
            output,
            estimator,
            paths,
            y,
            source=source,
            skipped=skipped,
            unreadable=unreadable,
            code=_CODE.format(model=str(model), folder=str(folder)),
        )
    if as_json:
        show_json(
            {
                "model": str(model),
                "images": len(y),
                "accuracy": accuracy,
                "unreadable": unreadable,
                "written": {"report": str(output)},
            }
        )
    else:
        tell(f"{len(y)} images, accuracy {accuracy:.3f}. Report: {output}.")


_CODE = """\
import numpy as np
from sktl.datasets import load_image_folder
from sktl.persistence import load_model

model = load_model({model!r})
data = load_image_folder({folder!r})
data = data.get("test", data)
y = np.array(data.target_names)[data.target]
print(model.score(data.paths, y))"""
