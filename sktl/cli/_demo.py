"""``sktl demo``: handwritten digits, offline, in under two minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sktl._whole_file import check_writable
from sktl.cli import _options as options
from sktl.cli._compare_and_train import show_answer
from sktl.cli._terminal import progress_wanted

_CODE = """\
import numpy as np
from sklearn.datasets import load_digits
from sktl.model_selection import compare

X, y = load_digits(return_X_y=True)
some = np.random.default_rng(0).permutation(len(X))[:{n_images}]
found = compare(X[some], y[some], backbones=["lenet5"], duplicates="ignore")
print(found)
model = found.best_estimator_"""


def demo(
    report: Annotated[Path, typer.Option(help="The HTML file for the report.")] = Path(
        "sktl-demo.html"
    ),
    n_images: Annotated[
        int, typer.Option(min=200, max=1797, help="How many of the 1797 digits to use.")
    ] = 500,
    as_json: options.AsJson = False,
) -> None:
    """See what sktl does, on handwritten digits, without a download.

    Compares frozen features, fine-tuning and baselines, prints a table and
    writes a report with pictures. The digits come with scikit-learn; the
    network, lenet5, comes with sktl and was trained on other digits (MNIST).
    The network sees each image once, whatever the number of heads and folds.
    """
    from sklearn.datasets import load_digits

    from sktl.model_selection import compare
    from sktl.report import write_comparison_report

    started = time.perf_counter()
    check_writable(report)
    X, y = load_digits(return_X_y=True)
    some = np.random.default_rng(0).permutation(len(X))[:n_images]
    X, y = X[some], y[some]
    # No search for duplicates: some digits of 8 x 8 pixels look alike by chance.
    settings = {"backbones": ["lenet5"], "duplicates": "ignore"}
    found = compare(X, y, **settings, verbose=progress_wanted())
    write_comparison_report(
        report,
        found,
        X,
        source="handwritten digits of 8 x 8 pixels (sklearn.datasets.load_digits)",
        code=_CODE.format(n_images=n_images),
    )
    answer = {"images": len(y), "seconds": round(time.perf_counter() - started, 1)}
    show_answer(found, {**answer, "written": {"report": report}}, as_json)
