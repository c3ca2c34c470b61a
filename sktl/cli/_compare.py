"""``sktl compare``: can this be learned, how well, by which route, at what cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sktl.cli import _options as options
from sktl.cli._comparing import BASELINES, Asked, answer, fine_tuning_of, ranking
from sktl.cli._output import show_json, show_table, tell


def compare(
    folder: Annotated[
        Path,
        typer.Argument(
            help="One folder for each class, or train and test folders of such."
        ),
    ],
    backbones: options.Backbones = ["pocket"],  # noqa: B006 - typer copies it
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="A weights name or a file, as NAME=WEIGHTS where there are several "
            "networks; may be repeated."
        ),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            help="A head on frozen features: logistic, svc, linear_svc, knn, forest; "
            "may be repeated. logistic and svc by default.",
        ),
    ] = None,
    unfreeze: Annotated[
        list[str] | None,
        typer.Option(
            help="What fine-tuning trains: head, all, or a number of stages; may be "
            "repeated. 1 by default."
        ),
    ] = None,
    no_finetune: Annotated[
        bool, typer.Option("--no-finetune", help="Leave fine-tuning out: much faster.")
    ] = False,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of fine-tuning.")
    ] = None,
    image_size: options.ImageSize = None,
    folds: Annotated[
        int, typer.Option("--cv", min=2, help="Folds of the cross-validation.")
    ] = 5,
    repeats: Annotated[
        int, typer.Option(min=1, help="How often to draw the folds anew.")
    ] = 1,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Use this many images of each class.")
    ] = None,
    group_duplicates: Annotated[
        bool,
        typer.Option(
            "--group-duplicates", help="Keep copies of an image on one side of a split."
        ),
    ] = False,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave unreadable images out.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page with pictures.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Save the best model.")
    ] = None,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Compare both strategies, and baselines, on a folder of images.

    Frozen features with a head, and fine-tuning, against the most frequent
    class, small pixels, colours and the untrained network: on the same splits,
    with confidence intervals and costs.
    """
    answered = answer(
        Asked(
            folder=folder,
            backbones=list(backbones),
            weights=options.weights_by_name(weights, list(backbones)),
            heads=heads or None,
            unfreeze=[] if no_finetune else list(unfreeze or ["1"]),
            baselines=BASELINES,
            fine_tuning=fine_tuning_of(max_epochs),
            image_size=image_size,
            folds=folds,
            cache=options.store(cache, no_cache),
            device=device,
            seed=seed,
            per_class=per_class,
            skip_unreadable=skip_unreadable,
            repeats=repeats,
            duplicates="group" if group_duplicates else "warn",
            model=output,
            report=report,
        )
    )
    if as_json:
        show_json(answered.as_dict())
        return
    show_table(ranking(answered.comparison), answered.title())
    tell(answered.in_words())
