"""The folder of this run: found by all its processes, removed by the first of them.

``import sktl`` names the run in the environment (``SKTL_SESSION``, beginning with the
process id of whoever imported it first), so that workers started later find the same
folder. It is made when the first row is stored. Workers that were started before, as a
notebook's often are, look for the folder of the process that started them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from functools import lru_cache

from sktl.engine._owner import is_alive, started
from sktl.engine._workers import is_worker

_PREFIX = "sktl-session-"
_OWNER_FILE = "owner"
_FORGOTTEN_SECONDS = 86400.0


def session_folder() -> str:
    """Return the folder of this run; make it, and sweep those of dead runs, once."""
    token = os.environ.setdefault(
        "SKTL_SESSION", f"{os.getpid()}-{secrets.token_hex(8)}"
    )
    return _folder_of(token, os.getpid())


@lru_cache(maxsize=8)
def _folder_of(token: str, pid: int) -> str:
    """Return the folder called ``token``, made and watched by process ``pid``."""
    parent = tempfile.gettempdir()
    _sweep(parent)
    owner = _owner_named_in(token) or pid
    if owner == pid and is_worker():
        # It was started before sktl was imported, so its name of the run is its own.
        owner = os.getppid()
        token = f"{owner}-workers"
    name = _PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", token)[:100]
    folder = _folder_begun_for(parent, owner) or os.path.join(parent, name)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    if not _is_mine(os.lstat(folder)):
        raise PermissionError(f"{folder} belongs to somebody else")
    with contextlib.suppress(FileExistsError):
        path = os.path.join(folder, _OWNER_FILE)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as f:
            f.write(f"{owner} {started(owner)}")
    if owner == pid:
        atexit.register(_remove, folder, pid)
    return folder


def _folder_begun_for(parent: str, owner: int) -> str | None:
    """Return the folder that process ``owner``, or its workers, have begun."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(f"{_PREFIX}{owner}-") and _is_mine(
                entry.stat(follow_symlinks=False)
            ):
                return entry.path
    return None


def _is_mine(info: os.stat_result) -> bool:
    """Tell whether this is a folder of this user's."""
    return stat.S_ISDIR(info.st_mode) and (
        not hasattr(os, "getuid") or info.st_uid == os.getuid()
    )


def _owner_named_in(token: str) -> int | None:
    """Return the process id that ``token`` begins with."""
    match = re.match(r"(\d{1,9})-", token)
    return int(match[1]) if match else None


def _remove(folder: str, pid: int) -> None:
    """Remove ``folder`` at the end of the process that made it, not of its forks."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: str) -> None:
    """Remove the folders of runs that were killed before they could."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and _is_stale(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_stale(entry: os.DirEntry) -> bool:
    """Tell whether a session folder is this user's and its run is over."""
    info = entry.stat(follow_symlinks=False)
    if not _is_mine(info):
        return False
    try:
        with open(os.path.join(entry.path, _OWNER_FILE), encoding="ascii") as file:
            pid, _, start = file.read(100).partition(" ")
        return not is_alive(int(pid), start)
    except (OSError, ValueError):
        return time.time() - info.st_mtime > _FORGOTTEN_SECONDS
