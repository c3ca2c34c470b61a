"""The folder of this run: found by all its processes, removed by the first of them.

``import sktl`` names the run in the environment (``SKTL_SESSION``, beginning with the
id of the process that imported it first), so that workers started later find the same
folder. Workers that were started before, as often in a notebook, look for the folder of
the process that started them.
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
from collections.abc import Iterator
from functools import lru_cache

from sktl.store._claims import is_locked, lock_for_good

_PREFIX = "sktl-session-"
_OWNER_LOCK = "owner.lock"
_FORGOTTEN_SECONDS = 86400.0


def session_folder() -> str:
    """Return the folder of this run; on first use, make it and sweep dead ones."""
    name = f"{os.getpid()}-{secrets.token_hex(8)}"
    return _folder_of(os.environ.setdefault("SKTL_SESSION", name), os.getpid())


@lru_cache(maxsize=8)
def _folder_of(token: str, pid: int) -> str:
    """Return the folder called ``token``, as process ``pid`` finds or makes it."""
    parent = tempfile.gettempdir()
    owner = _owner_named_in(token) or pid
    if owner == pid and is_worker():
        # It was started before sktl was imported, so it made up its own run name.
        owner = os.getppid()
        token = f"{owner}-workers"
    folder = os.path.join(
        parent, _PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", token)[:100]
    )
    for found in _folders_in(parent):
        if _is_over(found):
            shutil.rmtree(found, ignore_errors=True)
        elif os.path.basename(found).startswith(f"{_PREFIX}{owner}-"):
            folder = found  # begun by that process or its workers
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if not _is_mine(os.lstat(folder)):
        raise PermissionError(f"{folder} belongs to another user")
    if owner == pid:
        lock_for_good(os.path.join(folder, _OWNER_LOCK))
        atexit.register(_remove, folder, pid)
    return folder


def _owner_named_in(token: str) -> int | None:
    """Return the process id that the name of a run begins with."""
    match = re.match(r"(\d{1,9})-", token)
    return int(match[1]) if match else None


def _folders_in(parent: str) -> Iterator[str]:
    """Yield the session folders of this user."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        with contextlib.suppress(OSError):  # another process has just removed it
            if name.startswith(_PREFIX) and _is_mine(os.lstat(path)):
                yield path


def _is_mine(info: os.stat_result) -> bool:
    """Tell whether this is a folder of the current user."""
    is_own = not hasattr(os, "getuid") or info.st_uid == os.getuid()
    return is_own and stat.S_ISDIR(info.st_mode)


def _is_over(folder: str) -> bool:
    """Tell whether the run that a session folder belongs to has ended.

    The process that owns the folder holds a lock in it. If only its workers have used
    the folder so far, the run lasts as long as a process has the owner's id.
    """
    lock = os.path.join(folder, _OWNER_LOCK)
    try:
        if os.path.exists(lock):
            return not is_locked(lock)
        owner = _owner_named_in(os.path.basename(folder).removeprefix(_PREFIX))
        if owner is not None and sys.platform != "win32":  # there, signal 0 is Ctrl-C
            os.kill(owner, 0)
        return time.time() - os.stat(folder).st_mtime > _FORGOTTEN_SECONDS
    except ProcessLookupError:
        return True
    except OSError:
        return False


def _remove(folder: str, pid: int) -> None:
    """Remove ``folder`` at the end of the process that owns it, not of its forks."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def is_worker() -> bool:
    """Tell whether joblib or multiprocessing started this process."""
    is_child = multiprocessing.parent_process() is not None
    name = multiprocessing.current_process().name
    return is_child or name.startswith("LokyProcess")
