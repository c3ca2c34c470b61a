"""``PretrainedFeatures``: the transformer from images to embeddings."""

from __future__ import annotations

import os
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import pairwise
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from sktl.backbones import BackboneInfo, resolve
from sktl.engine import FrozenPart, activations, resolve_engine, row_shape
from sktl.exceptions import StageNotFoundError
from sktl.images import check_value_range, learn_value_range, read_images
from sktl.store import EmbeddingStore


class PretrainedFeatures(TransformerMixin, BaseEstimator):
    """Turn images into the embeddings of a frozen pretrained network.

    The network is cut after the requested layers. The part before the cut never
    changes, so each image is embedded once and kept, however many folds, candidates
    and processes of a search need it again.

    Parameters
    ----------
    backbone : str, torch.nn.Module or callable, default="efficientnet_lite0"
        The network: a name of :func:`sktl.list_backbones`, ``"timm/<name>"``, a
        module, or a callable that returns one.
    weights : str, path or None, default="default"
        Which weights the network gets:

        - ``"default"``: the published ones (those inside the package, or installed
          with it, where there are any);
        - a weights name, such as ``"IMAGENET1K_V2"``;
        - a path to a ``.pth`` or ``.safetensors`` file;
        - ``None``: random weights, drawn from ``random_state``.

        A module passed as ``backbone`` keeps the weights it has.
    layers : str, list of str or None, default=None
        Stages whose outputs become features, concatenated in the order given.
        Shell-style patterns are allowed (``"stage*"``). ``None`` takes the network's
        own embedding, which is what its classifier would see. ``"all"`` joins every
        stage with the embedding and evens them out, so that none drowns the others:
        it helps if the images are unlike those of the pretraining.
    pool : {"avg", "max", "avgmax", "flatten"}, default="avg"
        How a feature map becomes a vector: mean or maximum over its positions, both,
        or all positions one after another. With ``layers=None``, anything but ``"avg"``
        is applied to the last feature map, before the network's own pooling.
    image_size : int, (int, int) or None, default=None
        Height and width at which the network sees the images. ``None`` is the size
        of its published recipe.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of images that come as
        rows of a table. ``None`` infers it if the width is a square or three times
        a square.
    batch_size : int or "auto", default="auto"
        Images per forward pass. It changes speed and memory, not the numbers.
    value_range : (float, float) or None, default=None
        The pixel values that mean black and white. ``None`` takes the full range of
        uint8, uint16 and bool, and learns it from X in ``fit`` for other types.
    precision : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        Arithmetic of the network. Embeddings are float32 in any case.
    engine : {"auto", "torch", "compile", "openvino"}, default="auto"
        What runs the network. ``"auto"`` takes OpenVINO on a CPU if it is installed,
        torch otherwise. ``"compile"`` is ``torch.compile``: it takes half a minute
        before the first row, which pays off on a GPU or for many thousands of images.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; ``"auto"`` takes a GPU if there
        is one.
    cache : "session", path, EmbeddingStore or None, default="session"
        Where embeddings are kept: shared by all processes of this run and gone at its
        end, in a folder that lasts, or nowhere.
    on_error : {"raise", "nan"}, default="raise"
        How unreadable images are reported: one error that names them all, or rows of
        NaN and a warning. Rows stay aligned with ``y``.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights if ``weights=None``; has no effect otherwise.
    verbose : int, default=0
        Show a progress bar when above 0.

    Attributes
    ----------
    info_ : BackboneInfo
        The facts about the network.
    layers_ : tuple of str
        The stages whose outputs are the features.
    value_range_ : (float, float) or None
        The pixel values that mean black and white; None if the type of the pixels
        defines them.
    n_features_in_ : int
        Columns of X, when X is a table.
    feature_names_in_ : ndarray of str
        Names of the columns of X, when X is a data frame.

    See Also
    --------
    FineTunedClassifier : Trains the last stages of the network as well.

    Notes
    -----
    ``fit`` costs no forward pass: it learns the pixel scale if it has to, and
    identifies the weights. A fitted object holds the network's name and a fingerprint
    of its weights, and pickles in kilobytes; a module passed as ``backbone`` is a
    parameter and is pickled with it. With ``n_jobs``, each worker that has to run the
    network loads its own copy; one that finds every image in the cache does not even
    import torch.

    Embeddings are not scaled. :class:`ProbeClassifier` scales them itself; put a
    ``Normalizer`` before an ``SVC``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import PretrainedFeatures, ProbeClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(PretrainedFeatures("lenet5"), ProbeClassifier())
    >>> model.fit(X[:200], y[:200]).score(X[200:400], y[200:400]) > 0.9
    True
    """

    _parameter_constraints: dict = {
        "backbone": [str, HasMethods(["forward", "state_dict"]), callable],
        "weights": [str, os.PathLike, None],
        "layers": [str, list, tuple, None],
        "pool": [StrOptions({"avg", "max", "avgmax", "flatten"})],
        "image_size": [Interval(Integral, 1, None, closed="left"), list, tuple, None],
        "image_shape": [list, tuple, None],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "value_range": [list, tuple, None],
        "precision": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "engine": [StrOptions({"auto", "torch", "compile", "openvino"})],
        "device": [str],
        "cache": [str, os.PathLike, EmbeddingStore, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone="efficientnet_lite0",
        *,
        weights="default",
        layers=None,
        pool="avg",
        image_size=None,
        image_shape=None,
        batch_size="auto",
        value_range=None,
        precision="float32",
        engine="auto",
        device="auto",
        cache="session",
        on_error="raise",
        random_state=None,
        verbose=0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.layers = layers
        self.pool = pool
        self.image_size = image_size
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.value_range = value_range
        self.precision = precision
        self.engine = engine
        self.device = device
        self.cache = cache
        self.on_error = on_error
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> PretrainedFeatures:
        """Learn the pixel scale if need be, and identify the network's weights.

        Parameters
        ----------
        X : array-like of images
            Arrays, paths, encoded bytes, PIL images or flattened rows.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        self : PretrainedFeatures
            The fitted transformer.
        """
        rows = read_images(self, X, reset=True)
        return self._settle(learn_value_range(rows, self.value_range))

    def _settle(self, value_range) -> PretrainedFeatures:
        """Identify the weights and what is computed with them."""
        reference = resolve(self.backbone, self.weights, self.random_state)
        engine, precision = resolve_engine(self.engine, self.device, self.precision)
        self.info_ = reference.info
        self.layers_ = _wanted_layers(reference.info, self.layers, self.pool)
        self.value_range_ = value_range
        self._evens = self.layers == "all"
        self._part = FrozenPart(
            backbone=reference,
            layers=self.layers_,
            pool=self.pool,
            recipe=reference.info.recipe.at(self.image_size),
            value_range=self.value_range_,
            precision=precision,
            engine=engine,
        )
        return self

    def transform(self, X) -> np.ndarray:
        """Embed images.

        Parameters
        ----------
        X : array-like of images
            As in ``fit``; images may come in another form.

        Returns
        -------
        embeddings : ndarray of shape (n_samples, n_features_out), dtype float32
            One row for each image, in the order of X.
        """
        check_is_fitted(self)
        rows = read_images(self, X, reset=False)
        check_value_range(rows, self.value_range_)
        found = activations(
            rows,
            self._part,
            device=self.device,
            batch_size=self.batch_size,
            cache=self.cache,
            on_error=self.on_error,
            verbose=self.verbose,
            label=self.info_.name,
        )
        return _evened(found, self._widths()) if self._evens else found

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return names for the features, such as ``resnet18_007``.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the columns that ``fit`` saw.

        Returns
        -------
        feature_names_out : ndarray of str objects
            The backbone, the layer if ``layers`` is not None, and a number.
        """
        check_is_fitted(self)
        if hasattr(self, "n_features_in_"):
            _check_feature_names_in(self, input_features, generate_names=False)
        names = []
        for layer, width in zip(self.layers_, self._widths(), strict=True):
            prefix = self.info_.name.replace("/", "_")
            if self.layers is not None:
                prefix += f"_{layer}"
            digits = len(str(width - 1))
            names += [f"{prefix}_{i:0{digits}}" for i in range(width)]
        return np.array(names, dtype=object)

    def _widths(self) -> list[int]:
        """Return how many features come from each of the layers."""
        if self._part.pool not in ("avg", "max"):
            # How many positions a map has depends on the size of the images.
            parts = [replace(self._part, layers=(name,)) for name in self.layers_]
            return [row_shape(part)[0] for part in parts]
        known = dict(zip(self.info_.stages, self.info_.widths, strict=True))
        known[self.info_.stages[-1]] = self.info_.n_features
        return [known[name] for name in self.layers_]

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_part")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _wanted_layers(info: BackboneInfo, layers, pool: str) -> tuple[str, ...]:
    """Return the stages that ``layers`` names, in the order in which it names them."""
    if layers is None:
        before_pooling = info.stages.index("pool") - 1 if "pool" in info.stages else -1
        return (info.stages[-1 if pool == "avg" else before_pooling],)
    if layers == "all":  # the embedding stands for the last map, which it averages
        pooled = [a for a, b in pairwise(info.stages) if b == "pool"]
        return tuple(stage for stage in info.stages if stage not in pooled)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    if not patterns:
        raise StageNotFoundError(
            "layers is empty. Name at least one stage, or pass layers=None for the "
            "embedding."
        )
    wanted: dict[str, None] = {}
    for pattern in patterns:
        matches = [stage for stage in info.stages if fnmatchcase(stage, str(pattern))]
        if not matches:
            raise StageNotFoundError(
                f"layers: {pattern!r} matches no stage of {info.name!r}. Its stages "
                f"are {', '.join(info.stages)}."
            )
        wanted.update(dict.fromkeys(matches))
    return tuple(wanted)


def _evened(rows: np.ndarray, widths: list[int]) -> np.ndarray:
    """Give the part of each stage the length of the root of its width, in each row."""
    parts = []
    for part in np.split(rows, np.cumsum(widths)[:-1], axis=1):
        length = np.linalg.norm(part, axis=1, keepdims=True)
        length[length == 0] = 1.0
        parts.append(part * np.float32(part.shape[1] ** 0.5) / length)
    return np.concatenate(parts, axis=1)
