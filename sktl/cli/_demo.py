"""``sktl demo``: two tasks that need no download, each in about a minute."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sktl._whole_file import check_writable
from sktl.cli import _options as options
from sktl.cli._compare_and_train import show_answer
from sktl.cli._terminal import progress_wanted


class Task(str, Enum):
    """What the demo can show."""

    digits = "digits"
    shapes = "shapes"


def _digits(n_images: int) -> tuple:
    from sklearn.datasets import load_digits
    from sklearn.utils import shuffle

    X, y = load_digits(return_X_y=True)
    return shuffle(X, y, n_samples=n_images, random_state=0)


def _shapes(n_images: int) -> tuple:
    from sktl.datasets import make_shapes

    return make_shapes(n_images, random_state=0)


_SOURCES = {
    Task.digits: "handwritten digits of 8 x 8 pixels (sklearn.datasets.load_digits)",
    Task.shapes: "shapes drawn on photographs (sktl.datasets.make_shapes)",
}
# Code for the report that loads the same images.
_LINES = {
    Task.digits: """\
from sklearn.datasets import load_digits
from sklearn.utils import shuffle

X, y = load_digits(return_X_y=True)
X, y = shuffle(X, y, n_samples={n_images}, random_state=0)
""",
    Task.shapes: """\
from sktl.datasets import make_shapes

X, y = make_shapes({n_images}, random_state=0)
""",
}


def demo(
    task: Annotated[Task, typer.Argument(help="What to show.")] = Task.digits,
    report: Annotated[
        Path | None,
        typer.Option(help="The HTML file for the report. [default: sktl-TASK.html]"),
    ] = None,
    n_images: Annotated[
        int | None,
        typer.Option(
            min=100,
            max=1797,
            help="How many images to use. [default: 300 digits, 100 shapes]",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """See what sktl does, on digits or on shapes, without a download.

    Compares frozen features, fine-tuning and baselines, prints a table and
    writes a report with pictures. The handwritten digits come with scikit-learn;
    their network, lenet5, was trained on other digits (MNIST). The shapes are
    drawn on photographs; their network was trained on photographs (ImageNet). A
    network sees each image once, whatever the number of heads and folds.
    """
    from sktl.model_selection import compare
    from sktl.report import write_comparison_report

    started = time.perf_counter()
    n_images = n_images or (300 if task is Task.digits else 100)
    page = report or Path(f"sktl-{task.value}.html")
    check_writable(page)
    X, y = (_digits if task is Task.digits else _shapes)(n_images)
    # No search for duplicates: some of these small images look alike by chance.
    arguments: dict = {"duplicates": "ignore"}
    if task is Task.digits:
        arguments["backbones"] = ["lenet5"]
    found = compare(X, y, **arguments, verbose=progress_wanted())
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    write_comparison_report(
        page,
        found,
        X,
        source=_SOURCES[task],
        code=f"{_LINES[task].format(n_images=n_images)}"
        "from sktl.model_selection import compare\n\n"
        f"found = compare(X, y, {shown})\nprint(found)\nmodel = found.best_estimator_",
    )
    seconds = round(time.perf_counter() - started, 1)
    answer = {"images": n_images, "seconds": seconds, "written": {"report": page}}
    show_answer(found, answer, as_json)
