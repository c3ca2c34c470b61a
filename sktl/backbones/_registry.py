"""The names of backbones: listing them, looking them up, adding to them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from sktl.backbones import _own, _torchvision
from sktl.backbones._info import BackboneInfo
from sktl.exceptions import BackboneNotFoundError
from sktl.images import Recipe

if TYPE_CHECKING:
    from torch import nn

    from sktl.backbones._modules import ModuleSource

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
        Only backbones from there. The names of timm are listed when they are asked
        for, since that has to import timm.
    task : {"classification", "detection", "segmentation"}, optional
        Only backbones whose published weights were trained for this.

    Returns
    -------
    list of str
        The names: bundled ones first, then in alphabetical order.

    See Also
    --------
    get_backbone : What is known of one of them.

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
    names = [*_known(source)]
    infos = {name: get_backbone(name) for name in names}
    found = [
        info
        for info in infos.values()
        if (source is None or info.source == source)
        and (task is None or info.task == task)
        and (family is None or _plain(info.family) == _plain(family))
    ]
    if not found:
        _explain_empty(infos.values(), family=family, source=source, task=task)
    return [info.name for info in sorted(found, key=_order)]


def _known(source: str | None) -> list[str]:
    # Only registered modules have to be built to be described.
    names = [*_own.names(), *_torchvision.table()]
    return [*names, *_registered] if source in (None, "module") else names


def _order(info: BackboneInfo) -> tuple:
    return (info.source != "bundled", info.name)


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _explain_empty(infos: Iterable[BackboneInfo], **asked: str | None) -> None:
    """Raise if a filter names something that no backbone has."""
    infos = list(infos)
    for field, value in asked.items():
        known = sorted({getattr(info, field) for info in infos})
        if field == "source":
            known = sorted({*known, "module", "timm"})
        if value is not None and _plain(value) not in map(_plain, known):
            raise ValueError(
                f"No backbone has {field}={value!r}. There are: {', '.join(known)}."
            )


def get_backbone(name: str) -> BackboneInfo:
    """Return what is known of a backbone, without reading its weights.

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
    their ``backbone``; registering it is the way to say where its stages lie and how
    its images are prepared, and makes it searchable by name.

    Parameters
    ----------
    name : str
        The name to be used. Registering a name again replaces it; names that sktl
        brings cannot be replaced.
    backbone : torch.nn.Module or callable
        The network, or what builds it. A callable keeps estimators light, since its
        name is pickled in place of the weights.
    stages : mapping of str to str, module or list of these, optional
        What makes up each stage, in order: paths of submodules (``"layer1"``), slices
        of containers (``"features[3:6]"``) and parameter-free modules
        (``torch.nn.Flatten()``). The last stage returns the embedding; where it
        returns a map, a stage ``"pool"`` takes the mean over its places. None finds
        the stages by running the network and watching its children.
    recipe : sktl.images.Recipe, optional
        How images are prepared. None is the recipe of ImageNet: 224 px out of 256,
        ImageNet's mean and standard deviation.
    family : str, optional
        Its line of architectures; None is the name of the class.
    year : int, optional
        When it appeared.
    layout : {"nchw", "nhwc", "tokens"}, optional
        How its feature maps are arranged; None looks at their shapes.
    n_prefix_tokens : int, default=0
        Tokens before those of the image, in the tokens layout.

    Notes
    -----
    Names live in the process that registered them. Where other processes have to know
    one (``n_jobs`` with loky), register it in a module that they import, or pass the
    callable itself as ``backbone``.

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
    from sktl.backbones._modules import ModuleSource

    if not isinstance(name, str) or not name or name.startswith("timm/"):
        raise ValueError(
            f"name={name!r} has to be a text that does not begin with 'timm/'."
        )
    if _own.find(name) or name in _torchvision.table():
        raise ValueError(
            f"{name!r} is a backbone that sktl brings. Choose another name."
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


def source_of(name: str):
    """Return what builds the backbone called ``name``."""
    if name in _registered:
        return _registered[name]
    if name.startswith("timm/"):
        from sktl.backbones import _timm

        return _timm.find(name)
    found = _own.find(name) or _torchvision.find(name)
    if found is None:
        known = [*_own.names(), *_torchvision.table(), *_registered]
        close = difflib.get_close_matches(name.lower(), known, n=3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise BackboneNotFoundError(
            f"Unknown backbone {name!r}.{hint} sktl.list_backbones() lists all names; "
            "those of timm begin with 'timm/'."
        )
    return found
