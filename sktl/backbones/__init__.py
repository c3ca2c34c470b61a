"""Names of pretrained networks, and the networks as ordered, named stages.

Names, facts and fingerprints need no torch; it is imported when a network is built.
"""

from typing import TYPE_CHECKING

from sktl.backbones._info import BackboneInfo
from sktl.backbones._reference import BackboneRef
from sktl.backbones._registry import (
    get_backbone,
    list_backbones,
    register_backbone,
    resolve,
)

if TYPE_CHECKING:
    from sktl.backbones._staged import StagedNetwork

__all__ = [
    "BackboneInfo",
    "BackboneRef",
    "StagedNetwork",
    "get_backbone",
    "list_backbones",
    "register_backbone",
    "resolve",
]


def __getattr__(name: str) -> object:
    if name == "StagedNetwork":
        from sktl.backbones._staged import StagedNetwork

        return StagedNetwork
    raise AttributeError(f"module 'sktl.backbones' has no attribute {name!r}")
