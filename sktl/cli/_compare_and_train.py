"""``sktl compare`` and ``sktl train``: which model classifies a folder of images best.

``train`` compares only the one or two models that it was asked for.
"""

from __future__ import annotations

import inspect
import time
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sktl._whole_file import check_writable
from sktl._wording import cost
from sktl.cli import _options as options
from sktl.cli._image_arguments import check_enough, load_labelled
from sktl.cli._terminal import (
    CommandError,
    progress_wanted,
    show_json,
    show_line,
    show_table,
)


class Strategy(str, Enum):
    """What ``sktl train`` can train."""

    features = "features"
    finetune = "finetune"
    auto = "auto"


def compare(
    folder: options.ClassFolder,
    backbones: Annotated[
        list[str],
        typer.Option("--backbone", "-b", help="A network. Repeat the option for more."),
    ] = ["efficientnet_lite0", "pocket"],  # noqa: B006 - typer copies it
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="The name of published weights, a file, or none for random weights. "
            "With several networks NAME=WEIGHTS, once for each."
        ),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            help="A head on frozen features: logistic, svc, linear_svc, knn or forest. "
            "Repeat the option for more. By default logistic and svc.",
        ),
    ] = None,
    unfreeze: Annotated[
        list[str] | None,
        typer.Option(
            help="What fine-tuning trains: head, all, or how many of the last stages. "
            "Repeat the option for more. By default 1."
        ),
    ] = None,
    no_finetune: Annotated[
        bool, typer.Option("--no-finetune", help="Skip fine-tuning: much faster.")
    ] = False,
    max_epochs: options.MaxEpochs = None,
    image_size: options.ImageSize = None,
    folds: options.Folds = 5,
    repeats: Annotated[
        int, typer.Option(min=1, help="How many times to run the cross-validation.")
    ] = 1,
    per_class: options.PerClass = None,
    group_duplicates: Annotated[
        bool,
        typer.Option(
            "--group-duplicates",
            help="Keep copies of an image in the same fold.",
        ),
    ] = False,
    skip_unreadable: options.SkipUnreadable = False,
    report: options.Report = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Save the best model here.")
    ] = None,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Find out how well a folder of images can be classified, and by which model.

    Compares heads on frozen features and fine-tuned networks with simple
    baselines: the most frequent class, small pixels, colours, and an untrained
    network. All are scored on the same splits, with confidence intervals and
    costs.
    """
    _run(
        folder,
        {
            "backbones": list(backbones),
            "heads": heads or None,
            "unfreeze": [] if no_finetune else _unfreeze(unfreeze or ["1"]),
            "weights": _weights_by_name(weights or [], list(backbones)),
            "image_size": image_size,
            "fine_tuning": None if max_epochs is None else {"max_epochs": max_epochs},
            "cv": folds,
            "n_repeats": repeats,
            "duplicates": "group" if group_duplicates else "warn",
            "random_state": seed,
            "cache": options.store(cache, no_cache),
            "device": device,
        },
        per_class=per_class,
        skip_unreadable=skip_unreadable,
        report=report,
        output=output,
        as_json=as_json,
    )


def train(
    folder: options.ClassFolder,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The model file to write.")
    ] = Path("model.sktl"),
    strategy: Annotated[
        Strategy,
        typer.Option(
            help="features trains a head on a frozen network, finetune also trains the "
            "last stages of the network, auto tries both and keeps the better one."
        ),
    ] = Strategy.features,
    backbone: options.Backbone = "efficientnet_lite0",
    weights: options.Weights = None,
    head: Annotated[
        str,
        typer.Option(help="On frozen features: logistic, svc, linear_svc or knn."),
    ] = "logistic",
    unfreeze: Annotated[
        str,
        typer.Option(help="What finetune trains: head, all, or how many stages."),
    ] = "1",
    max_epochs: options.MaxEpochs = None,
    image_size: options.ImageSize = None,
    folds: options.Folds = 5,
    per_class: options.PerClass = None,
    skip_unreadable: options.SkipUnreadable = False,
    report: options.Report = None,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Train a classifier on a folder of images and save it.

    Its accuracy is estimated by cross-validation, and on the test folder if
    there is one. The model file is safe to load: it holds no pickle.
    """
    _run(
        folder,
        {
            "backbones": [backbone],
            "heads": [] if strategy is Strategy.finetune else [head],
            "unfreeze": [] if strategy is Strategy.features else _unfreeze([unfreeze]),
            "baselines": (),
            "weights": options.weights_of(weights),
            "image_size": image_size,
            "fine_tuning": None if max_epochs is None else {"max_epochs": max_epochs},
            "cv": folds,
            "random_state": seed,
            "cache": options.store(cache, no_cache),
            "device": device,
        },
        per_class=per_class,
        skip_unreadable=skip_unreadable,
        report=report,
        output=output,
        as_json=as_json,
    )


def show_answer(comparison, answer: dict, as_json: bool) -> None:
    """Print the answer as JSON, or as a table and sentences."""
    if as_json:
        found = {"best": comparison.best_name_, "advice": comparison.advice()}
        show_json({**answer, **found, "table": comparison.table})
        return
    scoring, best = comparison.scoring, comparison.table[0]
    interval = f"{comparison.confidence:.0%} interval"
    if len(comparison.table) > 1:
        records = [
            {
                "model": row["name"],
                "strategy": row["strategy"],
                "score": f"{row['score']:.3f}",
                "interval": f"{row['low']:.3f} to {row['high']:.3f}",
                "fit s": cost(row["fit_seconds"]),
                "predict ms": cost(row["predict_ms"]),
            }
            for row in comparison.table
        ]
        n, n_splits = answer["images"], len(comparison.splits_)
        title = f"{n} images, {n_splits} splits: {scoring} with {interval}s"
        show_table(records, title)
        advice = comparison.advice()
    else:
        show_line(
            f"{best['name']}: {scoring} {best['score']:.3f} in cross-validation "
            f"({interval} {best['low']:.3f} to {best['high']:.3f})."
        )
        advice = comparison.advice()[1:]
    for sentence in advice:
        show_line(sentence)
    if answer.get("test_images"):
        n_test, score = answer["test_images"], answer["test_score"]
        show_line(f"On the {n_test} images of the test folder: {score:.3f}.")
    for what, path in answer["written"].items():
        show_line(f"{what.capitalize()} written to {path}.")
    show_line(f"Done in {answer['seconds']:.0f} s.")


def _run(
    folder: Path,
    settings: dict,
    *,
    per_class: int | None,
    skip_unreadable: bool,
    report: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Compare models, write the report and the best one, and show the answer."""
    from sktl.model_selection import compare as compare_models
    from sktl.persistence import save_model
    from sktl.report import write_comparison_report

    started = time.perf_counter()
    for path in (output, report):
        if path is not None:
            check_writable(path)
    data = load_labelled(folder, per_class, skip_unreadable, settings["random_state"])
    check_enough(folder, data.y, settings["cv"])
    test_score = None
    comparison = compare_models(
        data.paths, data.y, **settings, verbose=progress_wanted()
    )
    if len(data.test_y):
        predicted = comparison.best_estimator_.predict(data.test_paths)
        test_score = float(np.mean(predicted == data.test_y))
    best, written = comparison.table[0], {}
    if report is not None:
        source = f"{folder}, {per_class} images per class" if per_class else str(folder)
        write_comparison_report(
            report,
            comparison,
            data.paths,
            source=source,
            test=(data.test_paths, data.test_y) if len(data.test_y) else None,
            skipped=data.skipped,
            unreadable=data.unreadable,
            code=_python(folder, settings),
        )
        written["report"] = report
    if output is not None and best["strategy"] != "baseline":
        metadata = {
            "name": best["name"],
            "images": len(data.y),
            "scoring": comparison.scoring,
            "score": best["score"],
            "interval": [best["low"], best["high"]],
            "test_score": test_score,
        }
        save_model(comparison.best_estimator_, output, metadata=metadata)
        written["model"] = output
    answer = {
        "folder": folder,
        "images": len(data.y),
        "classes": dict(sorted(Counter(data.y.tolist()).items())),
        "unreadable": data.unreadable,
        "scoring": comparison.scoring,
        "confidence": comparison.confidence,
        "test_images": len(data.test_y),
        "test_score": test_score,
        "warnings": comparison.warnings_,
        "seconds": round(time.perf_counter() - started, 1),
        "written": written,
    }
    show_answer(comparison, answer, as_json)
    if output is not None and "model" not in written:
        raise CommandError(
            f"No model was saved: no network is better than the baseline "
            f"{best['name']!r}. Try another backbone or more images."
        )


def _unfreeze(values: list[str]) -> list[str | int]:
    """Return the values of ``unfreeze=`` for estimators."""
    return [int(value) if value.isdecimal() else value for value in values]


def _weights_by_name(weights: list[str], backbones: list[str]) -> dict | str:
    """Return the weights of several networks, given as NAME=WEIGHTS."""
    found = {}
    for text in weights:
        name, equals, value = text.partition("=")
        if not equals or name not in backbones:
            if len(backbones) > 1:
                raise CommandError(
                    f"--weights {text!r} does not say which network it is for "
                    f"({', '.join(backbones)}). Write --weights NAME={text}."
                )
            name, value = backbones[0], text
        found[name] = options.weights_of(value)
    return found or "default"


_CODE = """\
import numpy as np
from sktl.datasets import load_image_folder
from sktl.model_selection import compare

data = load_image_folder({folder!r})
X, y = data.paths, np.array(data.target_names)[data.target]
found = compare(
    X,
    y,
{arguments})
print(found)
model = found.best_estimator_"""


def _python(folder: Path, settings: dict) -> str:
    """Return Python code that repeats the comparison on the whole folder."""
    from sktl.model_selection import compare as compare_models

    parameters = inspect.signature(compare_models).parameters
    arguments = "".join(
        f"    {name}={value!r},\n"
        for name, value in settings.items()
        if name not in ("cache", "device") and value != parameters[name].default
    )
    return _CODE.format(folder=str(folder), arguments=arguments)
