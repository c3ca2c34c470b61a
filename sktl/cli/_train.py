"""``sktl train``: a folder of classes → a model to keep, and how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sktl.cli import _options as options
from sktl.cli._comparing import Asked, answer, fine_tuning_of, ranking
from sktl.cli._output import show_json, show_table, tell

STRATEGIES = ("features", "finetune", "auto")


def train(
    folder: Annotated[
        Path,
        typer.Argument(
            help="One folder for each class, or train and test folders of such."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The model file to write.")
    ] = Path("model.sktl"),
    strategy: Annotated[
        str,
        typer.Option(
            help="features (a head on a frozen network), finetune (its last stages are "
            "trained as well), or auto: both, and the better one is kept."
        ),
    ] = "features",
    backbone: options.Backbone = "pocket",
    weights: options.Weights = None,
    head: Annotated[
        str,
        typer.Option(
            help="The head on frozen features: logistic, svc, linear_svc, knn."
        ),
    ] = "logistic",
    unfreeze: Annotated[
        str,
        typer.Option(help="What finetune trains: head, all, or a number of stages."),
    ] = "1",
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of finetune.")
    ] = None,
    image_size: options.ImageSize = None,
    folds: Annotated[
        int, typer.Option("--cv", min=2, help="Folds of the cross-validation.")
    ] = 5,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Use this many images of each class.")
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave unreadable images out.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page about the model as well.")
    ] = None,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Train a classifier on a folder of images, and save it.

    Its accuracy is estimated by cross-validation, and on the test folder if
    there is one. The model file holds no pickle: it is safe to load.
    """
    if strategy not in STRATEGIES:
        raise typer.BadParameter(
            f"{strategy!r} is not {', '.join(STRATEGIES)}.", param_hint="--strategy"
        )
    asked = Asked(
        folder=folder,
        backbones=[backbone],
        weights=options.weights_by_name(
            None if weights is None else [weights], [backbone]
        ),
        heads=[] if strategy == "finetune" else [head],
        unfreeze=[] if strategy == "features" else [unfreeze],
        baselines=(),
        fine_tuning=fine_tuning_of(max_epochs),
        image_size=image_size,
        folds=folds,
        per_class=per_class,
        skip_unreadable=skip_unreadable,
        cache=options.store(cache, no_cache),
        device=device,
        seed=seed,
        model=output,
        report=report,
    )
    answered = answer(asked)
    if as_json:
        show_json(answered.as_dict())
        return
    if len(answered.comparison.table) > 1:
        show_table(ranking(answered.comparison), answered.title())
    tell(answered.in_words())
