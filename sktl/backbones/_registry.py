"""The names of backbones: list them, look them up, add to them, resolve them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sktl.backbones._catalogue import CatalogueSource, facts
from sktl.backbones._info import BackboneInfo
from sktl.backbones._reference import BackboneRef, Source
from sktl.backbones._weights import RandomWeights, Weights, WeightsFile, seed_from
from sktl.exceptions import BackboneNotFoundError, WeightsUnavailableError
from sktl.images import Recipe

if TYPE_CHECKING:
    from torch import nn

    from sktl.backbones._user_modules import ModuleSource

_registered: dict[str, ModuleSource] = {}


def list_backbones(
    family: str | None = None, source: str | None = None, task: str | None = None
) -> list[str]:
    """List the names of backbones.

    Parameters
    ----------
    family : str, optional
        Only this line of architectures, such as ``"ResNet"``; case, spaces and
        hyphens do not matter.
    source : {"bundled", "own", "torchvision", "module", "timm"}, optional
        Only backbones from this source. Those of timm are listed only with ``"timm"``.
    task : {"classification", "detection", "segmentation"}, optional
        Only backbones whose published weights were trained for this.

    Returns
    -------
    list of str
        The names: bundled ones first, then in alphabetical order.

    See Also
    --------
    get_backbone : The facts about one of them.

    Examples
    --------
    >>> import sktl
    >>> sktl.list_backbones(family="SqueezeNet")
    ['squeezenet1_0', 'squeezenet1_1']
    >>> sktl.list_backbones(source="bundled")
    ['lenet5', 'pocket']
    >>> "deeplabv3_resnet50" in sktl.list_backbones(task="segmentation")
    True
    """
    if source == "timm":
        from sktl.backbones import _timm

        return _timm.names(family)
    # Only registered modules have to be built to be described.
    names = [*facts(), *(_registered if source in (None, "module") else ())]
    infos = [get_backbone(name) for name in names]
    asked = {"family": family, "source": source, "task": task}
    for field, value in asked.items():
        known = {getattr(info, field) for info in infos}
        known |= {"module", "timm"} if field == "source" else set()
        if value is not None and _plain(value) not in map(_plain, known):
            raise ValueError(
                f"No backbone has {field}={value!r}. Known values are "
                f"{', '.join(sorted(known))}."
            )
    found = [
        info
        for info in infos
        if all(
            value is None or _plain(getattr(info, field)) == _plain(value)
            for field, value in asked.items()
        )
    ]
    return [
        i.name for i in sorted(found, key=lambda i: (i.source != "bundled", i.name))
    ]


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def get_backbone(name: str) -> BackboneInfo:
    """Return what is known about a backbone, without reading its weights.

    Parameters
    ----------
    name : str
        A name of :func:`list_backbones`, or ``"timm/<name>"`` for any network of timm.

    Returns
    -------
    BackboneInfo
        Its family, stages, recipe, sizes and weights.

    Raises
    ------
    BackboneNotFoundError
        If there is no such name; it suggests the nearest one.

    Examples
    --------
    >>> from sktl import get_backbone
    >>> info = get_backbone("inception_v3")
    >>> info.family, info.year, info.recipe.size
    ('Inception', 2015, (299, 299))
    """
    return source_of(name).info()


def register_backbone(
    name: str,
    backbone: nn.Module | Callable[[], nn.Module],
    *,
    stages: Mapping[str, object] | None = None,
    recipe: Recipe | None = None,
    family: str | None = None,
    year: int | None = None,
    layout: str | None = None,
    n_prefix_tokens: int = 0,
) -> None:
    """Give a network of your own a name, stages and a recipe.

    Estimators take any :class:`torch.nn.Module`, or a callable that returns one, as
    their ``backbone``. Register it to say what its stages are and how its images are
    prepared, and to use it by name.

    Parameters
    ----------
    name : str
        The new name. Registering it again replaces the network; the names built into
        sktl cannot be replaced.
    backbone : torch.nn.Module or callable
        The network, or a callable that builds it. A callable keeps estimators light,
        since its name is pickled instead of the weights.
    stages : mapping of str to str, module or list of these, optional
        What makes up each stage, in order: paths of submodules (``"layer1"``), slices
        of containers (``"features[3:6]"``) and modules without parameters
        (``torch.nn.Flatten()``). The last stage returns the embedding; if it returns
        a map, a stage ``"pool"`` takes the mean over its positions. None finds
        the stages by running the network and watching its children.
    recipe : sktl.images.Recipe, optional
        How images are prepared. None is the recipe of ImageNet: 224 px out of 256,
        ImageNet's mean and standard deviation.
    family, year : str, int, optional
        Its line of architectures (None is the name of the class), and when it
        appeared.
    layout : {"nchw", "nhwc", "tokens"}, optional
        How its feature maps are arranged; None infers it from their shapes.
    n_prefix_tokens : int, default=0
        With tokens, how many come before those of the image.

    Notes
    -----
    A name exists in the process that registered it. For others (``n_jobs`` with
    loky), register it in a module that they import, or pass the callable itself as
    ``backbone``.

    Examples
    --------
    >>> from torch import nn
    >>> import sktl
    >>> from sktl.images import Recipe
    >>> def tiny():
    ...     return nn.Sequential(
    ...         nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(),
    ...         nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
    ...     )
    >>> sktl.register_backbone(
    ...     "tiny",
    ...     tiny,
    ...     stages={
    ...         "stem": "[0:2]",
    ...         "stage1": "[2:4]",
    ...         "pool": [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    ...     },
    ...     recipe=Recipe(size=(32, 32), resize=None),
    ... )
    >>> sktl.get_backbone("tiny").widths
    (8, 16, 16)
    """
    from sktl.backbones._user_modules import ModuleSource

    if not isinstance(name, str) or not name or name.startswith("timm/"):
        raise ValueError(
            f"name={name!r} must be a string that does not begin with 'timm/'."
        )
    if name in facts():
        raise ValueError(
            f"The name {name!r} is taken by a backbone of sktl. Choose another one."
        )
    _registered[name] = ModuleSource.of(
        backbone,
        name=name,
        stages=stages,
        recipe=recipe,
        family=family,
        year=year,
        layout=layout,
        n_prefix_tokens=n_prefix_tokens,
    )


def resolve(
    backbone: str | nn.Module | Callable[[], nn.Module],
    weights: str | os.PathLike | None = "default",
    random_state: object = None,
) -> BackboneRef:
    """Return a reference to a network with particular weights.

    Parameters
    ----------
    backbone : str, torch.nn.Module or callable
        A name of :func:`sktl.list_backbones`, ``"timm/<name>"``, a module, or a
        callable without arguments that returns one.
    weights : {"default"}, str, path or None, default="default"
        ``"default"`` takes the published weights, ``IMAGENET1K_V1`` if torchvision
        has several: the longer recipe behind ``V2`` raises the published accuracy but
        makes worse frozen features. Any other name in
        :attr:`BackboneInfo.weights` works too. A path reads a ``.pth`` or
        ``.safetensors`` file, without executing it; only its classifier may differ.
        ``None`` draws random weights. With ``"default"``, a module keeps the weights
        it has and a callable those it makes.
    random_state : int, RandomState instance or None, default=None
        The seed of the weights with ``weights=None``. ``None`` draws different ones
        each time.

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
        from sktl.backbones._user_modules import ModuleSource

        source = ModuleSource.of(backbone)
    else:
        raise BackboneNotFoundError(
            f"backbone={backbone!r} must be a name, a torch.nn.Module or a callable "
            "that returns one."
        )
    chosen = _choose_weights(source, weights, random_state)
    info = source.info(chosen.published)
    if chosen.published is None:
        info = replace(info, top1=None, weight_mb=None)
    fingerprint = chosen.fingerprint + source.structure
    return BackboneRef(source.name, info, fingerprint, source, chosen)


def _choose_weights(
    source: Source, weights: str | os.PathLike | None, random_state: object
) -> Weights:
    """Return the weights that the parameter stands for, downloaded if need be."""
    if weights is None:
        return RandomWeights(seed_from(random_state))
    if isinstance(weights, str):
        published = source.published(weights, random_state)
        if published is not None:
            if isinstance(published, WeightsFile):
                published.find()
            return published
        if weights == "default":
            raise WeightsUnavailableError(
                f"Backbone {source.name!r} has no published weights. Use weights=<path "
                "of a file> or weights=None (random)."
            )
        endings = (".pth", ".pt", ".safetensors", ".bin", ".ckpt", ".tar")
        if not (
            os.path.exists(weights)
            or os.path.dirname(weights)
            or weights.endswith(endings)
        ):
            known = ", ".join(source.info().weights) or "no names"
            raise WeightsUnavailableError(
                f"Backbone {source.name!r} has no weights called {weights!r}, and "
                f"there is no such file. It knows {known}; otherwise weights takes the "
                "path of a .pth or .safetensors file."
            )
    return WeightsFile.at(weights, source.name)


def source_of(name: str) -> Source:
    """Return where the backbone called ``name`` comes from."""
    if name in _registered:
        return _registered[name]
    if name in facts():
        return CatalogueSource(name)
    known, source = [*facts(), *_registered], ""
    if name.startswith("timm/"):
        from sktl.backbones import _timm

        if _timm.has(name):
            return _timm.TimmSource(name)
        known, source = _timm.names(), "source='timm'"
    close = difflib.get_close_matches(name.partition(".")[0].lower(), known, n=3)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise BackboneNotFoundError(
        f"Unknown backbone {name!r}.{hint} sktl.list_backbones({source}) lists all "
        "names; those of timm begin with 'timm/'."
    )
