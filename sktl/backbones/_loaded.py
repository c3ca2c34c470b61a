"""The networks that this process holds in memory, the least recently used first."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sktl.backbones._staged import StagedNetwork


class LoadedNetworks:
    """A bounded cache of networks, shared by all threads of the process.

    Parameters
    ----------
    max_bytes : int
        Bytes of weights to keep. The network asked for last stays in any case.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self.reset()

    def reset(self) -> None:
        """Forget all networks, and the locks that a fork may have left closed."""
        self._networks: OrderedDict[Hashable, tuple[StagedNetwork, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, load: Callable[[], StagedNetwork]) -> StagedNetwork:
        """Return the network under ``key``, loaded by one thread if it is not here."""
        with self._lock:
            if key in self._networks:
                self._networks.move_to_end(key)
                return self._networks[key][0]
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._networks:
                    self._networks.move_to_end(key)
                    return self._networks[key][0]
            network = load()
            with self._lock:
                self._networks[key] = (network, _n_bytes(network))
                self._loading.pop(key, None)
                while len(self._networks) > 1 and self.n_bytes > self.max_bytes:
                    self._networks.popitem(last=False)
        return network

    @property
    def n_bytes(self) -> int:
        """Bytes of weights held."""
        return sum(size for _, size in self._networks.values())

    def __len__(self) -> int:
        return len(self._networks)


def _n_bytes(network: StagedNetwork) -> int:
    tensors = [*network.parameters(), *network.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


# Two gigabytes hold a VGG-16, a ViT-L/16 and a dozen small networks side by side.
LOADED = LoadedNetworks(max_bytes=2 * 1024**3)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LOADED.reset)
