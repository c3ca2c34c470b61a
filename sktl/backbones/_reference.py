"""``BackboneRef``: a network with particular weights, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sktl.backbones._info import BackboneInfo
from sktl.backbones._weights import Weights

if TYPE_CHECKING:
    from sktl.backbones._staged import StagedNetwork


class Source(Protocol):
    """Where networks come from: our table of facts, timm, or the user.

    Sources are light: they hold names, not weights (except for a user's own module).
    """

    @property
    def name(self) -> str:
        """The name of the backbone."""

    def info(self, published: str | None = None) -> BackboneInfo:
        """Return the facts, with the recipe of the weights called ``published``."""

    def published(self, weights: str, random_state: object = None) -> Weights | None:
        """Return the weights called ``weights``, or None if there are none."""

    @property
    def structure(self) -> str:
        """What a fingerprint says about the network besides its weights."""

    def load(self, reference: BackboneRef) -> StagedNetwork:
        """Return the network with its weights."""


@dataclass(frozen=True)
class BackboneRef:
    """A network with particular weights, by name: light to keep and to pickle.

    Attributes
    ----------
    name : str
        The name of the backbone.
    info : BackboneInfo
        The facts about it, with the recipe of these weights.
    fingerprint : str
        Identifies the weights: the hash of their file, the seed they are drawn from,
        or the hash of a module's content.

    Notes
    -----
    A reference to a user's own module holds the module. All others hold no weights, and
    neither making nor unpickling them imports torch.

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
    source: Source = field(repr=False, compare=False)
    weights: Weights = field(repr=False, compare=False)

    def load(self) -> StagedNetwork:
        """Return the network: in evaluation mode, float32, on the CPU, frozen.

        It is shared by the whole process. Copy it (:func:`copy.deepcopy`) before
        changing anything.

        Raises
        ------
        WeightsUnavailableError
            If the weights file is missing or damaged.
        WeightsMismatchError
            If the file has changed or does not fit the network.
        """
        from sktl.backbones._loading import load_once

        return load_once((self.name, self.fingerprint), lambda: self.source.load(self))
