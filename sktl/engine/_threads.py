"""How many threads torch uses, in streams and for short work, and giving them back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_limit_lock = threading.Lock()
_limit_users = 0
_limit_before = 0


@contextlib.contextmanager
def threads_given_back(n_threads: int) -> Iterator[None]:
    """Give torch its ``n_threads`` back when the last of several streams has ended.

    What a stream sets holds for its own thread, but new threads of the process and MKL
    take it over.
    """
    global _limit_users, _limit_before
    with _limit_lock:
        if _limit_users == 0:
            _limit_before = n_threads
        _limit_users += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_users -= 1
            if _limit_users == 0:
                torch.set_num_threads(_limit_before)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread: for work so short that waking others costs more."""
    n_threads = torch.get_num_threads()
    with threads_given_back(n_threads):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)
