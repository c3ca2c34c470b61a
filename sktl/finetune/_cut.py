"""Where a network is cut: what is frozen and computed once, and what is trained."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from numbers import Integral

from sktl.backbones import BackboneInfo, BackboneRef
from sktl.engine import FrozenPart
from sktl.exceptions import StageNotFoundError


@dataclass(frozen=True)
class Cut:
    """A place between two stages of a network.

    A stage behind the cut that is not trained stays unchanged but passes gradients on.
    """

    after: str | None  # the last frozen stage; None if there is none before the cut
    behind: tuple[str, ...]  # all stages behind the cut, in order
    trained: tuple[str, ...]  # those of them whose parameters are trained

    def part_before(self, whole: FrozenPart) -> FrozenPart | None:
        """Return the part of the network before the cut, or None if there is none.

        ``whole`` is the network up to its embedding. With nothing behind the cut they
        are the same, and fine-tuning shares its rows with ``PretrainedFeatures``.
        """
        if self.after is None or not self.behind:
            return whole if self.after else None
        return replace(whole, layers=(self.after,), pool="none")


def cut_at(unfreeze: str | int | Collection[str], backbone: BackboneRef) -> Cut:
    """Return the cut that ``unfreeze`` asks for.

    It selects no stage ("head" or 0), every stage ("all"), the last k stages that have
    parameters, or stages by name or pattern. The network is loaded only if some of it
    is to be trained.
    """
    info = backbone.info
    if isinstance(unfreeze, str) and unfreeze == "head":
        unfreeze = 0
    n_stages = int(unfreeze) if isinstance(unfreeze, Integral) else None
    if n_stages == 0:
        return Cut(after=info.stages[-1], behind=(), trained=())
    stages = backbone.load().stages
    trainable = [
        name
        for name in info.stages
        if next(stages[name].parameters(), None) is not None
    ]
    if isinstance(unfreeze, str) and unfreeze == "all":
        trained = trainable
    elif n_stages is not None:
        if n_stages > len(trainable):
            raise StageNotFoundError(
                f"unfreeze={unfreeze} asks for more stages than {info.name!r} can "
                f"train: it has {len(trainable)} with parameters "
                f"({', '.join(trainable)}). Use 1 to {len(trainable)}, 'all', 'head' "
                "or stage names."
            )
        trained = trainable[len(trainable) - n_stages :]
    else:
        trained = _named(unfreeze, info, trainable)
    first = info.stages.index(trained[0])
    return Cut(
        after=info.stages[first - 1] if first else None,
        behind=info.stages[first:],
        trained=tuple(trained),
    )


def _named(unfreeze, info: BackboneInfo, trainable: list[str]) -> list[str]:
    """Return the stages that names and patterns stand for, in network order."""
    by_name = isinstance(unfreeze, str) or not isinstance(unfreeze, Collection)
    patterns = [unfreeze] if by_name else list(unfreeze)
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
