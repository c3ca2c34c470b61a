"""A part of a network that no list of its modules can express."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """The beginning of what a network does, or all of it, as a piece of a plan.

    Parameters
    ----------
    methods : tuple of str, default=("forward",)
        Names of the methods, each of which takes what the one before it returns.
    end : str, optional
        Path of the submodule in front of which to stop.
    without : tuple of str
        Paths of submodules that the part does not need.
    options : tuple of (str, object)
        Keyword arguments of the last method.
    keep_parameters : bool, default=True
        Whether the part needs the parameters that the network holds itself, outside
        of any submodule.
    """

    methods: tuple[str, ...] = ("forward",)
    end: str | None = None
    without: tuple[str, ...] = ()
    options: tuple[tuple[str, object], ...] = ()
    keep_parameters: bool = True

    def of(self, network: nn.Module) -> nn.Module:
        """Return the part as a module that shares the tensors of ``network``."""
        replaced = {network.get_submodule(path): nn.Identity() for path in self.without}
        if self.end is not None:
            replaced[network.get_submodule(self.end)] = _End()
        shell = _shell(network, replaced)
        if not self.keep_parameters:
            shell._parameters = {}
        return _Running(shell, self.methods, dict(self.options))


class _Running(nn.Module):
    """What a part runs."""

    def __init__(self, network: nn.Module, methods: tuple[str, ...], options: dict):
        super().__init__()
        self.network = network
        self.methods = methods
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        *first, last = self.methods
        try:
            for method in first:
                x = getattr(self.network, method)(x)
            return getattr(self.network, last)(x, **self.options)
        except _Reached as reached:
            return reached.args[0]


class _Reached(Exception):  # noqa: N818 - it reports an arrival
    """Carries the tensor that came to the end of a part."""


class _End(nn.Module):
    """Where a part ends."""

    def forward(self, x: Tensor) -> Tensor:
        raise _Reached(x)


def _shell(network: nn.Module, replaced: dict[nn.Module, nn.Module]) -> nn.Module:
    """Return a copy that shares all tensors, with some descendants replaced."""
    shell = copy.copy(network)
    shell.__dict__ = dict(network.__dict__)
    shell._parameters = dict(network._parameters)
    shell._buffers = dict(network._buffers)
    shell._modules = {
        name: child
        if child is None or replaced.keys().isdisjoint(child.modules())
        else replaced[child]
        if child in replaced
        else _shell(child, replaced)
        for name, child in network._modules.items()
    }
    return shell
