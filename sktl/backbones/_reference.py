"""From what an estimator is given to a network: ``resolve`` and ``BackboneRef``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from sktl.backbones._info import BackboneInfo
from sktl.backbones._loaded import LOADED
from sktl.backbones._registry import source_of
from sktl.backbones._weights import RandomWeights, WeightsFile, seed_from
from sktl.exceptions import BackboneNotFoundError, WeightsUnavailableError

if TYPE_CHECKING:
    from torch import nn

    from sktl.backbones._staged import StagedNetwork


@dataclass(frozen=True)
class BackboneRef:
    """A network with particular weights, by name: light to keep and to pickle.

    Attributes
    ----------
    name : str
        The name of the backbone.
    info : BackboneInfo
        What is known of it, with the recipe of these weights.
    fingerprint : str
        Identifies the weights: the hash of their file, the seed they are drawn from,
        or the hash of a module's content.

    Notes
    -----
    A reference to a module of the user's holds the module; all others hold no weights,
    and neither making nor unpickling them imports torch.

    Examples
    --------
    >>> from sktl.backbones import resolve
    >>> reference = resolve("lenet5")
    >>> reference.fingerprint[:13]
    'sha256:cdaf5a'
    >>> reference.load().info.n_features
    84
    """

    name: str
    info: BackboneInfo
    fingerprint: str
    source: object = field(repr=False, compare=False)
    weights: object = field(repr=False, compare=False)

    def load(self) -> StagedNetwork:
        """Return the network: in evaluation mode, float32, on the CPU, frozen.

        It is shared by the whole process. Copy it (:func:`copy.deepcopy`) before
        changing anything.

        Raises
        ------
        WeightsUnavailableError
            If the file of the weights is gone or damaged.
        WeightsMismatchError
            If the file has changed or does not fit the network.
        """
        return LOADED.get((self.name, self.fingerprint), self._load)

    def _load(self) -> StagedNetwork:
        from sktl.backbones import _build

        source, weights = self.source, self.weights
        if hasattr(source, "load"):
            return _build.freeze(source.load(self.info, weights, self.fingerprint))
        if isinstance(weights, RandomWeights):
            model = _build.build_random(
                partial(source.model, None, random=True), weights.seed
            )
        else:
            model = _filled(self.name, self.info, source, weights)
        network = _build.freeze(source.staged(model, self.info))
        if hasattr(source, "check"):
            source.check(_build.freeze(model), network)
        return network


def _filled(name: str, info: BackboneInfo, source, weights) -> nn.Module:
    """Return the network of ``source`` with the weights of a file."""
    from sktl.backbones import _build
    from sktl.backbones._state_dict import fit_state_dict, read_state_dict

    path = weights.locate()
    state = read_state_dict(path)
    build = partial(source.model, weights.published, random=False)
    model = _build.build_empty(build)
    for attempt in ("empty", "whole"):
        if attempt == "whole":
            # Some constructors compute tensors that no file holds.
            model = _build.build_random(build, 0)
        trunk = [source.staged(model, info)]
        fit_state_dict(
            model, trunk, state, name=name, path=path, translate=source.translate
        )
        _build.fill_counters(model)
        if _build.is_complete(source.staged(model, info)):
            break
    return model


def resolve(backbone, weights="default", random_state=None) -> BackboneRef:
    """Return a reference to a network with particular weights.

    Parameters
    ----------
    backbone : str, torch.nn.Module or callable
        A name of :func:`sktl.list_backbones`, ``"timm/<name>"``, a module, or a
        callable without arguments that returns one.
    weights : {"default"}, str, path or None, default="default"
        ``"default"`` are the published weights, ``IMAGENET1K_V1`` where torchvision
        has several: the longer recipe behind ``V2`` raises the published accuracy and
        makes worse frozen features. Any other name of
        :attr:`BackboneInfo.weights` is as good. A path reads a ``.pth`` or
        ``.safetensors`` file, without executing it; only its classifier may differ.
        ``None`` draws random weights. A module keeps the weights it has, and a
        callable those it makes, as ``"default"``.
    random_state : int, RandomState instance or None, default=None
        Draws the weights with ``weights=None``. ``None`` draws others each time.

    Returns
    -------
    BackboneRef
        The reference. Published weights that are not on this machine are downloaded
        here, into torch's own folder (``TORCH_HOME``).

    Raises
    ------
    BackboneNotFoundError
        If there is no such backbone.
    WeightsUnavailableError
        If the weights are not on this machine and cannot be downloaded, or are not a
        file of weights.
    WeightsMismatchError
        If the file belongs to another network.

    Examples
    --------
    >>> from sktl.backbones import resolve
    >>> reference = resolve("resnet18", weights=None, random_state=0)
    >>> reference.fingerprint
    'random:0:torch-...'
    >>> network = reference.load()
    >>> list(network.stages)
    ['stem', 'stage1', 'stage2', 'stage3', 'stage4', 'pool']
    """
    if isinstance(backbone, str):
        source = source_of(backbone)
    elif callable(backbone):
        from sktl.backbones._modules import ModuleSource

        source = ModuleSource.of(backbone)
    else:
        raise BackboneNotFoundError(
            f"backbone={backbone!r} has to be a name, a torch.nn.Module or a callable "
            "that returns one."
        )
    if hasattr(source, "resolve"):
        return source.resolve(weights, random_state)
    chosen = _choose(source, weights, random_state)
    info = source.info(getattr(chosen, "published", None))
    if getattr(chosen, "published", None) is None:
        info = replace(info, top1=None, weight_mb=None)
    return BackboneRef(source.name, info, chosen.fingerprint, source, chosen)


def _choose(source, weights, random_state):
    """Return the weights that a parameter stands for."""
    if weights is None:
        return RandomWeights(seed_from(random_state))
    if isinstance(weights, str):
        published = source.published(weights)
        if published is not None:
            published.fetch(source.name)
            return published
        names = source.info().weights
        if weights == "default":
            raise WeightsUnavailableError(
                f"Backbone {source.name!r} has no published weights. Use weights=<path "
                "of a file> or weights=None (random)."
            )
        if not _looks_like_path(weights):
            raise WeightsUnavailableError(
                f"Backbone {source.name!r} has no weights called {weights!r}, and no "
                f"file is called so. It knows {', '.join(names) or 'no names'}; "
                "otherwise weights takes the path of a .pth or .safetensors file."
            )
    return WeightsFile.at(weights, name=source.name)


def _looks_like_path(weights: str) -> bool:
    return (
        os.path.exists(weights)
        or os.path.dirname(weights) != ""
        or weights.endswith((".pth", ".pt", ".safetensors", ".bin", ".ckpt", ".tar"))
    )
