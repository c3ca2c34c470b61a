"""``sktl demo``: handwritten digits, offline, in under two minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sktl._whole_file import check_writable
from sktl.cli import _options as options
from sktl.cli._comparing import ranking
from sktl.cli._output import at_terminal, show_json, show_table, tell

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
    report: Annotated[Path, typer.Option(help="Where to write the page.")] = Path(
        "sktl-demo.html"
    ),
    n_images: Annotated[
        int, typer.Option(min=200, max=1797, help="How many of the 1797 digits to use.")
    ] = 500,
    as_json: options.AsJson = False,
) -> None:
    """Compare both strategies and baselines on handwritten digits, offline.

    The digits come with scikit-learn; the network, lenet5, comes with sktl and
    has learned on other digits (MNIST). A table is printed, a page written.
    """
    from sklearn.datasets import load_digits

    from sktl.model_selection import compare
    from sktl.report import write_comparison_report

    started = time.perf_counter()
    check_writable(report)
    X, y = load_digits(return_X_y=True)
    some = np.random.default_rng(0).permutation(len(X))[:n_images]
    X, y = X[some], y[some]
    # No search for copies: single pairs of digits of 8 x 8 pixels are alike by chance.
    found = compare(
        X, y, backbones=["lenet5"], duplicates="ignore", verbose=at_terminal()
    )
    write_comparison_report(
        report,
        found,
        X,
        source="handwritten digits of 8 x 8 pixels (sklearn.datasets.load_digits)",
        code=_CODE.format(n_images=n_images),
    )
    seconds = time.perf_counter() - started
    if as_json:
        show_json(
            {
                "images": len(y),
                "best": found.best_name_,
                "table": found.table,
                "seconds": round(seconds, 1),
                "written": {"report": str(report)},
            }
        )
        return
    show_table(
        ranking(found), f"{len(y)} handwritten digits, {len(found.splits_)} splits"
    )
    tell(
        f"{found.summary()} The network saw each image once, however many heads and "
        f"folds asked for it. Report: {report}. ({seconds:.0f} s)"
    )
