"""``rank_backbones``: which pretrained network suits these images."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import check_scoring
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sktl._blas import one_blas_thread
from sktl.features import PretrainedFeatures
from sktl.model_selection._described import Described, describe
from sktl.model_selection._intervals import Interval as ScoreInterval
from sktl.model_selection._intervals import score_interval
from sktl.model_selection._log_evidence import log_evidence
from sktl.model_selection._question import (
    groups_of,
    make_splits,
    mean_sizes,
    name_of_score,
    read_targets,
)
from sktl.model_selection._table import (
    Column,
    as_frame,
    as_html,
    as_text,
    decimals,
    significant,
)
from sktl.model_selection._weights_by_name import check_names, weights_of

_COLUMNS: list[Column] = [
    ("backbone", "backbone", None),
    ("score", "score", decimals(3)),
    ("low", "low", decimals(3)),
    ("high", "high", decimals(3)),
    ("log_evidence", "LogME", decimals(3)),
    ("n_features", "features", None),
    ("million_parameters", "M params", significant),
    ("ms_per_image", "ms/image", significant),
    ("seconds", "seconds", significant),
]


class BackboneRanking:
    """What :func:`rank_backbones` found: pretrained networks, the most suitable first.

    Attributes
    ----------
    table : list of dict
        One row for each network, the best score first: ``backbone``, ``score`` with
        the ends ``low`` and ``high`` of its 95 % confidence interval, ``log_evidence``
        (LogME), ``n_features``, ``million_parameters``, ``weight_mb``, ``top1``
        (published, on ImageNet), ``ms_per_image``, ``embedded`` and ``seconds``.

    best : PretrainedFeatures
        The transformer of the first row, not fitted.

    scoring : str
        The score.

    See Also
    --------
    rank_backbones : Makes a ranking; with an example.
    """

    def __init__(self, table: list[dict], best: PretrainedFeatures, scoring: str):
        self.table = table
        self.best = best
        self.scoring = scoring

    def to_frame(self):
        """Return the table as a pandas data frame."""
        return as_frame(self.table, "BackboneRanking.to_frame")

    def __repr__(self) -> str:
        return f"{self._caption()}\n\n{as_text(self.table, _COLUMNS)}"

    def _repr_html_(self) -> str:
        return as_html(self.table, _COLUMNS, self._caption())

    def _caption(self) -> str:
        return f"Backbones by {self.scoring} of a linear probe (95% intervals)"


@validate_params(
    {
        "backbones": ["array-like", str],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "weights": [dict, str, None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "scoring": [str, callable, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
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
):
    """Rank pretrained networks by how well they suit these images.

    Each network sees each image once and nothing of it is trained: a linear probe
    (logistic regression, or ridge regression for numbers) on its standardised
    embeddings is cross-validated, and LogME says how well a linear model could
    explain the targets.

    Parameters
    ----------
    X : array-like of images
        Arrays, paths, encoded bytes, PIL images or flattened rows.

    y : array-like of shape (n_samples,)
        Classes or numbers.

    backbones : sequence
        Names of networks, modules, or ``PretrainedFeatures`` objects, to compare
        layers, poolings or sizes; these are taken as they are.

    task : {"auto", "classification", "regression"}, default="auto"
        What y holds; ``"auto"`` takes floats that are not whole for numbers.

    weights : str, path, None or dict, default="default"
        Weights of the networks; a dict gives them by the name of the backbone, and
        backbones that it does not name get ``"default"``.

    image_size, image_shape, cache, device
        Passed to ``PretrainedFeatures``.

    cv : int, splitter or iterable, default=5
        Folds of the probe: shuffled, with the classes in proportion.

    n_repeats : int, default=1
        How often to divide the images into folds anew, when ``cv`` is an int.

    groups : array-like of shape (n_samples,), default=None
        Images of one group stay on one side of every split.

    scoring : str, callable or None, default=None
        The score. None is accuracy, or R² for numbers.

    n_jobs : int or None, default=None
        Processes for the probe. Networks run in this one.

    random_state : int, RandomState instance or None, default=0
        Shuffles the folds.

    verbose : int, default=0
        Show progress bars when above 0.

    Returns
    -------
    ranking : BackboneRanking
        A table that prints itself, ordered by score.

    See Also
    --------
    compare : Adds heads, baselines and fine-tuning.
    log_evidence : LogME alone.

    Notes
    -----
    The order is that of the probe: it measures the score you want, on your images,
    while training-free numbers only correlate with it (LogME with weighted tau 0.6 on
    FGVC-Aircraft, https://github.com/thuml/Transfer-Learning-Library). LogME is
    there to break ties, and where there are too few images to cross-validate.
    Intervals use the correction of Nadeau and Bengio for overlapping training sets.

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
    y, task = read_targets(X, y, task)
    groups = groups_of(groups, len(y))
    seed = int(check_random_state(random_state).randint(2**31 - 1000))
    splits = make_splits(y, groups, task, cv, n_repeats, seed)
    probe = _probe(task)
    scorer, name = check_scoring(probe, scoring), name_of_score(scoring, task)
    backbones = [backbones] if isinstance(backbones, str) else list(backbones)
    if not backbones:
        raise ValueError("backbones is empty. Name at least one network.")
    check_names(weights, backbones)
    extractors = [
        as_features(
            backbone,
            weights,
            image_size=image_size,
            image_shape=image_shape,
            cache=cache,
            device=device,
            verbose=verbose,
        )
        for backbone in backbones
    ]
    found = []
    for extractor in extractors:
        described = describe(extractor, X)
        with one_blas_thread():
            scores = cross_val_score(
                probe, described.features, y, cv=splits, scoring=scorer, n_jobs=n_jobs
            )
        interval = score_interval(scores, *mean_sizes(splits), name)
        row = _row(extractor, described, interval)
        row["log_evidence"] = log_evidence(
            described.features, y, discrete=task == "classification"
        )
        found.append((row, extractor))
    found.sort(key=lambda pair: (-pair[0]["score"], -pair[0]["log_evidence"]))
    return BackboneRanking([row for row, _ in found], clone(found[0][1]), name)


def as_features(backbone, weights, **params) -> PretrainedFeatures:
    """Return the transformer that an entry of ``backbones`` stands for."""
    if isinstance(backbone, PretrainedFeatures):
        return clone(backbone)
    return PretrainedFeatures(backbone, weights=weights_of(backbone, weights), **params)


def name_of_features(features: PretrainedFeatures) -> str:
    """Return what to call a transformer: its backbone, and what is unusual about it."""
    backbone = features.backbone
    name = backbone if isinstance(backbone, str) else _name_of_module(backbone)
    usual = PretrainedFeatures().get_params()
    unusual = [
        f"{key}={getattr(features, key)!r}"
        for key in ("weights", "layers", "pool", "image_size", "precision")
        if getattr(features, key) != usual[key]
        and not (key == "weights" and features.weights is not None)
    ]
    return f"{name} ({', '.join(unusual)})" if unusual else name


def _name_of_module(backbone) -> str:
    return getattr(backbone, "__name__", None) or type(backbone).__name__


def _probe(task: str):
    """Return a head that is cheap to fit: one setting, or one decomposition."""
    if task == "classification":
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))


def _row(
    extractor: PretrainedFeatures, described: Described, interval: ScoreInterval
) -> dict:
    """Return the facts of one network."""
    info = described.transformer.info_
    return {
        "backbone": name_of_features(extractor),
        "score": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "log_evidence": np.nan,
        "n_features": described.features.shape[1],
        "million_parameters": info.n_parameters / 1e6,
        "weight_mb": info.weight_mb,
        "top1": info.top1,
        "ms_per_image": described.ms_per_image,
        "embedded": described.embedded,
        "seconds": described.seconds,
    }
