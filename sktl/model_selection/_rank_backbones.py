"""``rank_backbones``: which pretrained network suits these images."""

from __future__ import annotations

from typing import ClassVar

from sktl._wording import cost
from sktl.backbones import resolve
from sktl.features import PretrainedFeatures
from sktl.model_selection._compare_candidates import compare
from sktl.model_selection._comparison import Column, ResultTable
from sktl.model_selection._cross_validation import read_targets
from sktl.model_selection._extractors import make_extractors, name_of_extractor
from sktl.model_selection._strategy_grid import default_heads


class BackboneRanking(ResultTable):
    """What :func:`rank_backbones` found: networks, the best score first.

    Attributes
    ----------
    table : list of dict
        One row for each network, the best score first: ``backbone``, ``score`` with
        the ends ``low`` and ``high`` of its 95 % confidence interval, ``n_features``,
        ``million_parameters``, ``weight_mb``, ``top1`` (published, on ImageNet),
        ``ms_per_image``, ``embedded`` and ``seconds``.
    best : PretrainedFeatures
        The transformer of the first row, not fitted.
    scoring : str
        The name of the score.
    """

    _columns: ClassVar[list[Column]] = [
        ("backbone", "backbone", str),
        ("score", "score", "{:.3f}".format),
        ("low", "low", "{:.3f}".format),
        ("high", "high", "{:.3f}".format),
        ("n_features", "features", str),
        ("million_parameters", "M params", cost),
        ("ms_per_image", "ms/image", cost),
        ("seconds", "seconds", cost),
    ]

    def __init__(self, table: list[dict], best: PretrainedFeatures, scoring: str):
        self.table = table
        self.best = best
        self.scoring = scoring

    def _caption(self) -> str:
        return f"Backbones by {self.scoring} of a linear probe (95% intervals)"


def rank_backbones(
    X,
    y,
    backbones,
    *,
    task="auto",
    weights="default",
    image_size=None,
    image_shape=None,
    cv=5,
    n_repeats=1,
    groups=None,
    scoring=None,
    cache="session",
    device="auto",
    n_jobs=None,
    random_state=0,
    verbose=0,
) -> BackboneRanking:
    """Rank pretrained networks by how well they suit these images.

    Each network sees each image once and is not trained. The score is that of
    a linear probe on its embeddings, cross-validated: :class:`~sktl.ProbeClassifier`,
    or :class:`~sktl.ProbeRegressor` for numbers.

    Parameters
    ----------
    X, y
        Images and targets, as in :func:`compare`.
    backbones : sequence
        Names of networks, modules, or ``PretrainedFeatures`` objects, which keep all
        their settings, to compare layers, pooling or sizes.
    task, weights, image_size, image_shape, cv, n_repeats, groups, scoring
        As in :func:`compare`.
    cache, device, n_jobs, random_state, verbose
        Likewise.

    Returns
    -------
    ranking : BackboneRanking
        A table, the best score first. :func:`compare` adds heads, baselines and
        fine-tuning.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import PretrainedFeatures
    >>> from sktl.model_selection import rank_backbones
    >>> X, y = load_digits(return_X_y=True)
    >>> untrained = PretrainedFeatures("lenet5", weights=None, random_state=0)
    >>> ranking = rank_backbones(X[:150], y[:150], [untrained, "lenet5"])
    >>> ranking.best
    PretrainedFeatures(backbone='lenet5')
    >>> [row["backbone"] for row in ranking.table]
    ['lenet5', 'lenet5 (weights=None)']
    """
    extractors = make_extractors(
        backbones,
        weights,
        image_size=image_size,
        image_shape=image_shape,
        cache=cache,
        device=device,
    )
    task = read_targets(X, y, groups, task)[-1]
    found = compare(
        X,
        y,
        backbones=extractors,
        heads=default_heads(task)[:1],
        unfreeze=None,
        baselines=None,
        task=task,
        cv=cv,
        n_repeats=n_repeats,
        groups=groups,
        duplicates="ignore",
        scoring=scoring,
        label_curve=False,
        refit=False,
        n_jobs=n_jobs,
        random_state=random_state,
        verbose=verbose,
    )
    by_name = {name_of_extractor(extractor): extractor for extractor in extractors}
    table = []
    for row in found.table:
        extractor = by_name[row["backbone"]]
        info = resolve(extractor.backbone, extractor.weights, 0).info
        table.append(
            {
                **{key: row[key] for key in ("backbone", "score", "low", "high")},
                **{key: row[key] for key in ("n_features", "embedded")},
                "million_parameters": info.n_parameters / 1e6,
                "weight_mb": info.weight_mb,
                "top1": info.top1,
                "ms_per_image": row["predict_ms"],
                "seconds": row["embed_seconds"],
            }
        )
    best = by_name[table[0]["backbone"]]
    return BackboneRanking(table, best, found.scoring)
