"""``sktl demo``: two tasks that need no download, each in about a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class _Images:
    """The images of a task, and how they are compared and described."""

    load: Callable[[int], tuple]
    n_images: int  # unless the user asks for another number
    source: str
    lines: str  # code for the report that loads the same images
    arguments: dict = field(default_factory=dict)  # of compare


_IMAGES = {
    Task.digits: _Images(
        _digits,
        300,
        "handwritten digits of 8 x 8 pixels (sklearn.datasets.load_digits)",
        """\
from sklearn.datasets import load_digits
from sklearn.utils import shuffle

X, y = load_digits(return_X_y=True)
X, y = shuffle(X, y, n_samples={n_images}, random_state=0)
""",
        {"backbones": ["lenet5"]},
    ),
    Task.shapes: _Images(
        _shapes,
        100,
        "shapes drawn on photographs (sktl.datasets.make_shapes)",
        """\
from sktl.datasets import make_shapes

X, y = make_shapes({n_images}, random_state=0)
""",
    ),
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
    images = _IMAGES[task]
    n_images = n_images or images.n_images
    page = report or Path(f"sktl-{task.value}.html")
    check_writable(page)
    X, y = images.load(n_images)
    # No search for duplicates: some of these small images look alike by chance.
    arguments = {"duplicates": "ignore", **images.arguments}
    found = compare(X, y, **arguments, verbose=progress_wanted())
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    write_comparison_report(
        page,
        found,
        X,
        source=images.source,
        code=images.lines.format(n_images=n_images)
        + "from sktl.model_selection import compare\n\n"
        f"found = compare(X, y, {shown})\nprint(found)\nmodel = found.best_estimator_",
    )
    seconds = round(time.perf_counter() - started, 1)
    answer = {"images": n_images, "seconds": seconds, "written": {"report": page}}
    show_answer(found, answer, as_json)
