"""Which device, engine, precision and threads a run gets; without torch if possible."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache

from sktl._extras import has_module, import_extra
from sktl._warn_caller import warn_caller

PRECISIONS = ("float32", "bfloat16", "float16")
# Any of these files means that a GPU driver is present and torch has to be asked.
_GPU_NODES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")


def resolve_device(device: str = "auto") -> str:
    """Return the concrete device, such as ``"cpu"`` or ``"cuda:0"``.

    Parameters
    ----------
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"auto"``: a GPU if there is
        one. On a machine without a GPU driver, torch is not imported to find out.

    Returns
    -------
    str
        A device that exists.

    Examples
    --------
    >>> from sktl.engine import resolve_device
    >>> resolve_device("cpu")
    'cpu'
    """
    kind, _, index = str(device).partition(":")
    if kind == "auto":
        return _best_device()
    if kind == "cpu":
        return kind
    if kind not in ("cuda", "mps"):
        raise ValueError(
            f"device={device!r} is unknown. Accepted are 'auto', 'cpu', 'cuda', "
            "'cuda:<index>' and 'mps'."
        )
    return _check_gpu(kind, index)


@lru_cache(maxsize=1)
def _best_device() -> str:
    """Return the GPU if torch can use one, else the CPU."""
    if sys.platform == "linux" and not any(map(os.path.exists, _GPU_NODES)):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_gpu(kind: str, index: str) -> str:
    """Return the GPU's full name, or raise if torch cannot use it."""
    import torch

    if kind == "mps":
        n_devices = int(torch.backends.mps.is_available())
    else:
        n_devices = torch.cuda.device_count()
    if not (index or "0").isdecimal() or int(index or 0) >= n_devices:
        device = f"{kind}:{index}" if index else kind
        raise ValueError(
            f"device={device!r} was asked for, but torch sees {n_devices} "
            f"{kind.upper()} devices. Use device='auto' or 'cpu'."
        )
    return kind if kind == "mps" else f"cuda:{int(index or 0)}"


def resolve_engine(
    engine: str = "auto", device: str = "auto", precision: str = "float32"
) -> tuple[str, str]:
    """Return the concrete engine and precision that a run gets.

    Parameters
    ----------
    engine : {"auto", "torch", "compile", "openvino"}, default="auto"
        ``"auto"`` is OpenVINO on a CPU if it is installed, torch otherwise.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; ``"auto"`` takes a GPU if there
        is one.
    precision : {"float32", "bfloat16", "float16", "auto"}, default="float32"
        ``"auto"`` is the fastest that loses little accuracy: bfloat16 if the processor
        computes in it, float16 on older GPUs, float32 otherwise.

    Returns
    -------
    (str, str)
        What will run the network, and the arithmetic it will use.

    Raises
    ------
    MissingExtraError
        ``engine="openvino"`` and OpenVINO is not installed.

    Examples
    --------
    >>> from sktl.engine import resolve_engine
    >>> resolve_engine("torch", "cpu", "bfloat16")
    ('torch', 'bfloat16')
    """
    device = resolve_device(device)
    on_cpu = device == "cpu"
    if engine == "auto":
        engine = "openvino" if on_cpu and has_module("openvino") else "torch"
    elif engine == "openvino":
        if not on_cpu:
            raise ValueError(
                f"engine='openvino' runs on the CPU, but the device is {device!r}. "
                "Use engine='torch', or device='cpu'."
            )
        if not has_module("openvino"):
            import_extra("openvino", "openvino", "engine='openvino'")
    elif engine not in ("torch", "compile"):
        raise ValueError(
            f"engine={engine!r} is unknown. Accepted are 'auto', 'torch', 'compile', "
            "'openvino'."
        )
    if precision == "auto":
        precision = _best_precision(device)
    elif precision not in PRECISIONS:
        raise ValueError(
            f"precision={precision!r} is unknown. Accepted are 'auto' and {PRECISIONS}."
        )
    elif precision == "float16" and on_cpu:
        raise ValueError(
            "precision='float16' needs a GPU, and the device is 'cpu'. "
            "Use 'bfloat16' or 'float32'."
        )
    elif precision == "bfloat16" and on_cpu and not _cpu_has_bfloat16():
        warn_caller(
            "precision='bfloat16' was asked for, but this processor is not known to "
            "compute in it; without such arithmetic, float32 is several times as fast. "
            "precision='auto' takes bfloat16 only where it is fast.",
            RuntimeWarning,
        )
    return engine, precision


def _best_precision(device: str) -> str:
    """Return the shortest format in which ``device`` computes fast."""
    if device == "cpu":
        return "bfloat16" if _cpu_has_bfloat16() else "float32"
    if device == "mps":
        return "float16"
    import torch

    return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"


@lru_cache(maxsize=1)
def _cpu_has_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 matrices natively."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(line.split())
    except OSError:
        return False
    return False


@contextlib.contextmanager
def threads_given_back() -> Iterator[int]:
    """Give torch its threads back when the last of several streams has ended.

    A stream sets the number for its own thread, but MKL and new threads of the process
    inherit it.
    """
    import torch

    n_threads = torch.get_num_threads()
    with _limits_lock:
        _limits.append(n_threads)
    try:
        yield n_threads
    finally:
        with _limits_lock:
            first = _limits[0]
            _limits.pop()  # only their number and the first one matter
            if not _limits:
                torch.set_num_threads(first)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread: for work so short that waking others costs more."""
    import torch

    with threads_given_back() as n_threads:
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)


_limits: list[int] = []
_limits_lock = threading.Lock()
