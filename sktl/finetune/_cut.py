"""``Cut``: where a network is cut, and which stages behind the cut are trained."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from numbers import Integral

from sktl.backbones import BackboneInfo
from sktl.exceptions import StageNotFoundError


@dataclass(frozen=True)
class Cut:
    """A place between two stages of a network.

    Parameters
    ----------
    after : str or None
        The last frozen stage before the cut; None when nothing lies before it.
    behind : tuple of str
        All stages behind the cut, in order.
    trained : tuple of str
        Those of them whose parameters are trained. A stage that lies behind the cut
        and is not trained passes gradients on and stays as it is.
    """

    after: str | None
    behind: tuple[str, ...]
    trained: tuple[str, ...]

    @property
    def frozen(self) -> tuple[str, ...]:
        """Stages behind the cut that stay as they are."""
        return tuple(name for name in self.behind if name not in self.trained)

    @property
    def depths(self) -> dict[str, int]:
        """How deep each trained stage lies: 1 for the one below the head."""
        return {name: 1 + i for i, name in enumerate(reversed(self.trained))}


def cut_at(
    unfreeze: str | int | Collection[str],
    info: BackboneInfo,
    with_parameters: Callable[[], Collection[str]],
) -> Cut:
    """Return the cut that ``unfreeze`` asks for.

    Parameters
    ----------
    unfreeze : "head", "all", int, str or collection of str
        Nothing, everything, the last k stages that have parameters, or names and
        patterns of stages.
    info : BackboneInfo
        The network; a cut at its end needs no more than that.
    with_parameters : callable
        Returns the stages that have something to train. Called only when needed,
        because it loads the network.
    """
    if (isinstance(unfreeze, str) and unfreeze == "head") or (
        isinstance(unfreeze, Integral) and unfreeze == 0
    ):
        return Cut(after=info.stages[-1], behind=(), trained=())
    has_parameters = set(with_parameters())
    trainable = [name for name in info.stages if name in has_parameters]
    if isinstance(unfreeze, str) and unfreeze == "all":
        trained = trainable
    elif isinstance(unfreeze, Integral):
        if unfreeze > len(trainable):
            raise StageNotFoundError(
                f"unfreeze={unfreeze} asks for more stages than {info.name!r} can "
                f"train: it has {len(trainable)} with parameters "
                f"({', '.join(trainable)}). Use 1 to {len(trainable)}, 'all', 'head' "
                "or stage names."
            )
        trained = trainable[len(trainable) - unfreeze :]
    else:
        trained = _named(unfreeze, info, trainable)
    first = info.stages.index(trained[0])
    return Cut(
        after=info.stages[first - 1] if first else None,
        behind=info.stages[first:],
        trained=tuple(trained),
    )


def _named(
    unfreeze: str | Collection[str], info: BackboneInfo, trainable: list[str]
) -> list[str]:
    """Return the stages that names and patterns stand for, in network order."""
    patterns = [unfreeze] if isinstance(unfreeze, str) else list(unfreeze)
    matched = set()
    for pattern in patterns:
        hits = {name for name in info.stages if fnmatchcase(name, str(pattern))}
        if not hits:
            raise StageNotFoundError(
                f"unfreeze: {pattern!r} matches no stage of {info.name!r}. Its stages "
                f"are {', '.join(info.stages)}."
            )
        matched |= hits
    named = [name for name in trainable if name in matched]
    if not named:
        raise StageNotFoundError(
            f"unfreeze={unfreeze!r} names no stage of {info.name!r} that has "
            f"parameters. Those that do are {', '.join(trainable)}; unfreeze='head' "
            "trains only the head."
        )
    return named
