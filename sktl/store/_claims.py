"""``Claims``: the rows a call is computing, so that no other call computes them too.

Each call that computes has two files in the folder ``claims`` of its store: a list of
keys, and a lock that the kernel frees however the process ends. The list only grows:
``+key`` when a row is claimed, ``-key`` when the claim ends. Calls read each other's
lists and ignore those whose lock is free.

A row is stored before the claim on it ends, and claims are checked before rows, so a
call that finds neither may compute. Only rows about to be computed are claimed, so
calls never wait in a circle. If the files cannot be used, a call claims every row it
asks for. Some rows are then computed twice, which costs time and changes no number.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from binascii import hexlify
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

# A process that is stopped while it holds the door, or rows that others wait for, is
# ignored after this long.
_DOOR_SECONDS = 10.0
_STUCK_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1
_DOOR = "door.lock"
_held_for_good: list[BaseFileLock] = []


class Claims:
    """The claims of one call; they end with the ``with`` block.

    Parameters
    ----------
    folder : str or None
        Where calls that share a store meet. With ``None``, this call shares nothing.
    """

    def __init__(self, folder: str | None):
        self._folder = folder  # None once it cannot be used
        self._name = secrets.token_hex(8)
        self._pid = os.getpid()
        self._list: int | None = None  # file descriptor of this call's list
        # Other calls: how far their lists were read, and what they claim.
        self._others: dict[str, tuple[int, set[bytes]]] = {}
        self._stuck: set[str] = set()

    def take(self, keys: Sequence[bytes]) -> list[bytes]:
        """Claim those of ``keys`` that no other call is computing, and return them."""
        if self._folder is None:
            return list(keys)
        try:
            for folder in (os.path.dirname(self._folder), self._folder):
                os.makedirs(folder, mode=0o700, exist_ok=True)
            door = _lock(os.path.join(self._folder, _DOOR))
            with door.acquire(timeout=_DOOR_SECONDS, poll_interval=_FIRST_PAUSE):
                if self._list is None:
                    self._begin()
                taken = self._taken(keys)
                mine = [key for key in keys if key not in taken]
                self._note(b"+", mine)
                return mine
        except OSError:  # including TimeoutError: go on alone
            self.__exit__()
            self._folder = None
            return list(keys)

    def release(self, keys: Collection[bytes]) -> None:
        """End the claims on rows that are stored, or that could not be."""
        with contextlib.suppress(OSError):
            self._note(b"-", keys)

    def wait(self, keys: Sequence[bytes]) -> None:
        """Wait until other calls have ended their claims on some of ``keys``."""
        pause, progress, since = _FIRST_PAUSE, -1, time.monotonic()
        with contextlib.suppress(OSError):
            while self._folder is not None and len(self._taken(keys)) == len(keys) > 0:
                read = sum(position for position, _ in self._others.values())
                if read != progress:
                    progress, since = read, time.monotonic()
                elif time.monotonic() - since > _STUCK_SECONDS:
                    self._stuck.update(self._others)
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *error: object) -> None:
        # A forked child must not end its parent's claims.
        if self._list is not None and self._pid == os.getpid():
            os.close(self._list)
            self._list = None
            self._remove(self._name)
            self._own_lock.release()

    def _begin(self) -> None:
        """Make the files of this call, and remove those of calls that died."""
        for file in os.listdir(self._folder):
            if file.endswith(".lock") and file != _DOOR:
                self._is_alive(file.removesuffix(".lock"))
        self._own_lock = _lock(self._path(self._name, ".lock"))
        self._own_lock.acquire(blocking=False)
        flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY
        self._list = os.open(self._path(self._name, ".keys"), flags, 0o600)

    def _taken(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of ``keys`` that another running call is computing."""
        taken: set[bytes] = set()
        wanted = {hexlify(key): key for key in keys}
        for file in os.listdir(self._folder):
            name, _, suffix = file.partition(".")
            if suffix == "keys" and name != self._name and name not in self._stuck:
                held = wanted.keys() & self._read(name)
                if held and self._is_alive(name):
                    taken.update(wanted[key] for key in held)
        return taken

    def _read(self, name: str) -> set[bytes]:
        """Return what another call claims, reading only what is new in its list."""
        position, held = self._others.get(name, (0, set()))
        try:
            with open(self._path(name, ".keys"), "rb") as file:
                file.seek(position)
                new = file.read()
        except FileNotFoundError:  # that call has just ended
            return set()
        new = new[: new.rfind(b"\n") + 1]
        for line in new.splitlines():
            (held.add if line[:1] == b"+" else held.discard)(line[1:])
        self._others[name] = (position + len(new), held)
        return held

    def _is_alive(self, name: str) -> bool:
        """Tell whether another call is still running; if not, remove its files."""
        if is_locked(self._path(name, ".lock")):
            return True
        self._remove(name)
        return False

    def _note(self, sign: bytes, keys: Collection[bytes]) -> None:
        """Append to this call's list in a single write."""
        if keys and self._list is not None:
            os.write(self._list, b"".join(b"%s%s\n" % (sign, hexlify(k)) for k in keys))

    def _remove(self, name: str) -> None:
        for suffix in (".keys", ".lock"):
            with contextlib.suppress(OSError):
                os.remove(self._path(name, suffix))

    def _path(self, name: str, suffix: str) -> str:
        return os.path.join(self._folder or "", name + suffix)


def _lock(path: str) -> BaseFileLock:
    """Return a lock on a file that the kernel frees when this process ends."""
    from filelock import FileLock  # 20 ms, saved in a process that only reads

    return FileLock(path, mode=0o600, thread_local=False)


def is_locked(path: str) -> bool:
    """Tell whether a living process holds the lock."""
    try:
        with _lock(path).acquire(blocking=False):
            return False
    except TimeoutError:
        return True


def lock_for_good(path: str) -> None:
    """Hold a lock for as long as this process lives."""
    _held_for_good.append(_lock(path))
    with contextlib.suppress(OSError):
        _held_for_good[-1].acquire(blocking=False)
