"""Who computes a row right now, and whether that process is still alive."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from dataclasses import dataclass, field
from functools import lru_cache

# An owner beats every couple of seconds while it works; one that was stopped or whose
# machine is out of sight loses its claims after this long.
SECONDS_TO_LIVE = 60.0


@lru_cache(maxsize=1)
def _namespace(_pid: int) -> str:
    """Return what makes process ids comparable: machine, boot, process namespace."""
    parts = [socket.gethostname()]
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            parts.append(file.read().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        pass
    return " ".join(parts)


def started(pid: int) -> str:
    """Return when process ``pid`` started, in the kernel's ticks; "" if unknown."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The second field is the program's name, in parentheses, and may hold
            # spaces: the start time is the 20th field after it.
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@lru_cache(maxsize=1)
def _own_start(pid: int) -> str:
    """Return when this process started; reading it anew can take milliseconds."""
    return started(pid)


def is_alive(pid: int, start: str) -> bool:
    """Tell whether process ``pid``, running since ``start``, lives; True if unsure."""
    if pid == os.getpid():
        return not start or _own_start(pid) in ("", start)
    if sys.platform == "win32":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return not start or started(pid) in ("", start)


@dataclass(frozen=True)
class Owner:
    """One call that computes rows: the name that stands on its claims."""

    pid: int = field(default_factory=os.getpid)
    start: str = field(default_factory=lambda: _own_start(os.getpid()))
    namespace: str = field(default_factory=lambda: _namespace(os.getpid()))
    token: bytes = field(default_factory=lambda: secrets.token_bytes(12))

    def __str__(self) -> str:
        return f"{self.pid}\n{self.start}\n{self.namespace}"


def holds(identity: str, beat: float, now: float | None = None) -> bool:
    """Tell whether the owner with this identity, last heard of at ``beat``, lives."""
    now = time.time() if now is None else now
    if abs(now - beat) > SECONDS_TO_LIVE:
        return False
    pid, _, rest = identity.partition("\n")
    start, _, namespace = rest.partition("\n")
    if namespace != _namespace(os.getpid()) or not pid.isdigit():
        return True
    return is_alive(int(pid), start)
