"""The folder of this run: found by all its processes, removed by the first of them.

``import sktl`` names the run in the environment (``SKTL_SESSION``, beginning with the
process id of whoever imported it first), so that workers started later find the same
folder. Workers that were started before, as a notebook's often are, look for the folder
of the process that started them.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from functools import lru_cache

from sktl.store._claims import is_locked, lock_for_good

_PREFIX = "sktl-session-"
_OWNER_LOCK = "owner.lock"
_FORGOTTEN_SECONDS = 86400.0


def session_folder() -> str:
    """Return the folder of this run; on first use, make it and sweep dead ones."""
    token = os.environ.setdefault(
        "SKTL_SESSION", f"{os.getpid()}-{secrets.token_hex(8)}"
    )
    return _folder_of(token, os.getpid())


@lru_cache(maxsize=8)
def _folder_of(token: str, pid: int) -> str:
    """Return the folder called ``token``, as process ``pid`` finds or makes it."""
    parent = tempfile.gettempdir()
    _sweep(parent)
    owner = _owner_named_in(token) or pid
    if owner == pid and is_worker():
        # It was started before sktl was imported, so the name of the run is its own.
        owner = os.getppid()
        token = f"{owner}-workers"
    name = _PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", token)[:100]
    folder = _folder_begun_for(parent, owner) or os.path.join(parent, name)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    if not _is_mine(os.lstat(folder)):
        raise PermissionError(f"{folder} belongs to somebody else")
    if owner == pid:
        lock_for_good(os.path.join(folder, _OWNER_LOCK))
        atexit.register(_remove, folder, pid)
    return folder


def _folder_begun_for(parent: str, owner: int) -> str | None:
    """Return the folder that process ``owner``, or its workers, have begun."""
    for entry in _sessions(parent):
        if entry.name.startswith(f"{_PREFIX}{owner}-"):
            return entry.path
    return None


def _owner_named_in(token: str) -> int | None:
    """Return the process id that the name of a run begins with."""
    match = re.match(r"(\d{1,9})-", token)
    return int(match[1]) if match else None


def _sessions(parent: str) -> list[os.DirEntry]:
    """Return the session folders of this user."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        return [
            entry
            for entry in entries
            if entry.name.startswith(_PREFIX)
            and _is_mine(entry.stat(follow_symlinks=False))
        ]
    return []


def _is_mine(info: os.stat_result) -> bool:
    """Tell whether this is a folder of this user's."""
    return stat.S_ISDIR(info.st_mode) and (
        not hasattr(os, "getuid") or info.st_uid == os.getuid()
    )


def _remove(folder: str, pid: int) -> None:
    """Remove ``folder`` at the end of the process that owns it, not of its forks."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: str) -> None:
    """Remove the folders of runs that were killed before they could."""
    for entry in _sessions(parent):
        with contextlib.suppress(OSError):
            if _is_over(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_over(entry: os.DirEntry) -> bool:
    """Tell whether the run of a session folder has ended.

    The process that owns the folder holds a lock in it. Where only its workers have
    used the folder so far, what counts is whether a process has the owner's id.
    """
    lock = os.path.join(entry.path, _OWNER_LOCK)
    if os.path.exists(lock):
        return not is_locked(lock)
    owner = _owner_named_in(entry.name.removeprefix(_PREFIX))
    if owner is not None and sys.platform != "win32":  # there, signal 0 is Ctrl-C
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
    return time.time() - entry.stat().st_mtime > _FORGOTTEN_SECONDS


def is_worker() -> bool:
    """Tell whether joblib or multiprocessing started this process."""
    return (
        multiprocessing.parent_process() is not None
        or multiprocessing.current_process().name.startswith("LokyProcess")
    )
