"""``content_key``: what an object is and does, as text that all its copies share."""

from __future__ import annotations

import copyreg
import dis
import hashlib
import pickle
import sys
import sysconfig
import types
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum
from functools import cached_property, partial
from operator import attrgetter, itemgetter
from pathlib import Path
from threading import Lock, RLock

import numpy as np
import torch

_PLAIN = {type(None), type(...), bool, int, float, complex, str}
_SETS = {set, frozenset}
_DICTS = {dict, OrderedDict, types.MappingProxyType}

# What acts in a function's code: not its name, its file or its line numbers.
_CODE = (
    "co_code co_exceptiontable co_consts co_names co_varnames co_freevars co_cellvars "
    "co_flags co_argcount co_posonlyargcount co_kwonlyargcount"
)
# The attributes that say all of things that pickle cannot read, or only by name.
_PARTS = {
    types.CodeType: _CODE.split(),
    types.CellType: ["cell_contents"],
    types.MethodType: ["__func__", "__self__"],
    partial: ["func", "args", "keywords"],
    staticmethod: ["__func__"],
    classmethod: ["__func__"],
    property: ["fget", "fset", "fdel"],
    cached_property: ["func"],
    type(Lock()): [],
    type(RLock()): [],
}
_STDLIB = sysconfig.get_path("stdlib")


def content_key(thing) -> str:
    """Return a digest that copies of ``thing`` share, and nothing that acts otherwise.

    Installed functions and classes stand for themselves, by name and version. The
    user's own are read: code, defaults, closures, and the globals that they use. What
    can neither be read nor pickled gets a new key each time: at worst nothing is
    shared, and nothing stale ever is.

    Parameters
    ----------
    thing : object
        A function, a module with weights, any callable object.

    Returns
    -------
    key : str
        32 hexadecimal digits, the same in every process.

    Examples
    --------
    >>> from sktl.finetune._content_key import content_key
    >>> content_key(lambda x: x + 1) == content_key(lambda x: x + 1)
    True
    >>> content_key(lambda x: x + 1) == content_key(lambda x: x + 2)
    False
    """
    return _Reading().digest(thing).hex()


class _Reading:
    """One walk through a thing and all that it holds."""

    def __init__(self) -> None:
        # Holds the things too: the id of one that is gone would be given out again.
        self._read: dict[int, tuple[object, bytes]] = {}
        self._depth: dict[int, int] = {}

    def digest(self, thing) -> bytes:
        """Return 16 bytes for ``thing``."""
        if type(thing) is bytes:
            return _hash("bytes", [thing])
        if type(thing) in _PLAIN:
            return _hash(f"{type(thing).__name__} {thing!r}")
        if id(thing) in self._read:
            return self._read[id(thing)][1]
        if id(thing) in self._depth:  # holds itself, as a recursive function does
            return _hash(f"back to depth {self._depth[id(thing)]}")
        self._depth[id(thing)] = len(self._depth)
        label, parts = _describe(thing)
        digests = [self.digest(part) for part in parts]
        if type(thing) in _SETS:  # strings come out in another order in each process
            digests.sort()
        del self._depth[id(thing)]
        self._read[id(thing)] = thing, _hash(label, digests)
        return self._read[id(thing)][1]


def _hash(label: str, digests: Iterable[bytes] = ()) -> bytes:
    text = label.encode() + b"\0" + b"".join(digests)
    return hashlib.blake2b(text, digest_size=16).digest()


def _describe(thing) -> tuple[str, Iterable]:
    """Return what kind of thing it is, and the simpler things that make it up."""
    kind = type(thing)
    if kind in (list, tuple) or kind in _SETS:
        return kind.__name__, thing
    if kind in _DICTS:
        # Their order counts: the layers of an nn.Sequential are a dict.
        return kind.__name__, thing.items()
    if isinstance(thing, types.ModuleType):
        return f"module {thing.__name__} {_version(thing.__name__)}", ()
    if _stands_for_itself(thing):
        version = _version(thing.__module__)
        return f"{thing.__module__}.{thing.__qualname__} {version}", ()
    if kind is types.FunctionType:
        return "function", _function_parts(thing)
    if isinstance(thing, type):
        return f"class {thing.__module__}.{thing.__qualname__}", _class_parts(thing)
    if kind in _PARTS:
        return kind.__name__, [_part(thing, name) for name in _PARTS[kind]]
    if isinstance(thing, Enum):
        return "enum", (kind, thing.name, thing.value)
    if kind in (np.ndarray, np.memmap):  # joblib maps large arrays for its workers
        values = thing.tolist() if thing.dtype.hasobject else thing.tobytes()
        return f"array {thing.dtype} {thing.shape}", (values,)
    dense = isinstance(thing, torch.Tensor) and thing.layout is torch.strided
    if dense and not (thing.is_quantized or thing.is_meta):
        flat = thing.detach().cpu().resolve_conj().resolve_neg().reshape(-1)
        values = flat.view(torch.uint8).numpy().tobytes()
        label = f"tensor {thing.dtype} {tuple(thing.shape)}"
        return label, (kind, values, _by_name(vars(thing)))
    return _pickled(thing)


def _pickled(thing) -> tuple[str, Iterable]:
    """Return what a pickle of ``thing`` would hold."""
    kind = type(thing)
    try:
        reduce = copyreg.dispatch_table.get(kind)
        pickled = reduce(thing) if reduce else thing.__reduce_ex__(4)
    except (pickle.PickleError, TypeError, AttributeError, ValueError, RuntimeError):
        return f"unreadable {uuid.uuid4().hex}", ()
    if isinstance(pickled, str):
        # The name of a global. What functools.lru_cache wraps is an attribute.
        label = f"{getattr(thing, '__module__', None)}.{pickled}"
        return label, (kind, _by_name(getattr(thing, "__dict__", None)))
    build, args, state, items, pairs = (*pickled, None, None, None)[:5]
    state = _by_name(state)
    return "object", (build, args, state, list(items or ()), list(pairs or ()))


def _function_parts(function: types.FunctionType) -> tuple:
    """Return all that decides what a function does."""
    return (
        function.__code__,
        function.__defaults__,
        _by_name(function.__kwdefaults__),
        function.__closure__,
        _by_name(vars(function)),
        _by_name(_globals_of(function)),
    )


def _globals_of(function: types.FunctionType) -> dict[str, object]:
    """Return the globals that a function uses, and what it may use of modules."""
    codes = [function.__code__]
    for code in codes:  # grows meanwhile, by the functions inside
        codes += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    # Not co_names, which has attributes too: `flip` in `x.flip(-1)` is no global, and
    # cloudpickle sends a worker only the globals.
    names = {
        step.argval
        for code in codes
        for step in dis.get_instructions(code)
        if "GLOBAL" in step.opname or step.opname == "LOAD_NAME"
    }
    space = function.__globals__
    used = {name: space[name] for name in names if name in space}
    attributes = {name for code in codes for name in code.co_names}
    modules = [value for value in used.values() if isinstance(value, types.ModuleType)]
    for module in modules:  # grows meanwhile, by submodules
        own = set() if _is_installed(module.__name__) else vars(module).keys()
        for name in attributes & own:
            value, place = vars(module)[name], f"{module.__name__}.{name}"
            if isinstance(value, types.ModuleType) and place not in used:
                modules.append(value)
            used[place] = value
    return used


def _class_parts(cls: type) -> tuple:
    """Return all that decides what a class of the user does."""
    own = {
        name: value
        for name, value in vars(cls).items()
        # Python keeps notes in a class, such as __slotnames__ once an instance was
        # copied. What acts among the special names can be called.
        if name != "_abc_impl"
        and (name[:2] != "__" or callable(value) or isinstance(value, classmethod))
    }
    return type(cls), cls.__bases__, _by_name(own)


def _part(thing, name: str):
    """Return an attribute, if there is one."""
    try:
        return _by_name(getattr(thing, name))
    # Python 3.10 has no exception table, and a cell may be empty (ValueError).
    except (AttributeError, ValueError):
        return "missing"


def _by_name(attributes):
    """Return the entries of a dict of attributes in the order of their names."""
    if type(attributes) is dict and all(type(name) is str for name in attributes):
        return sorted(attributes.items(), key=itemgetter(0))
    return attributes


def _stands_for_itself(thing) -> bool:
    """Tell whether an installed module offers ``thing`` under its own name."""
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None)
    if type(module) is not str or type(name) is not str or not _is_installed(module):
        return False
    try:
        return attrgetter(name)(sys.modules[module]) is thing
    except AttributeError:
        return False


def _is_installed(module: str) -> bool:
    """Tell whether a module is Python's own or was installed, not the user's."""
    top = module.partition(".")[0]
    spec = getattr(sys.modules.get(top), "__spec__", None)
    if module not in sys.modules or top in ("__main__", "__mp_main__") or spec is None:
        return False
    places = [spec.origin or "", *(spec.submodule_search_locations or ())]
    return any(
        place in ("built-in", "frozen")
        or not {"site-packages", "dist-packages"}.isdisjoint(Path(place).parts)
        or Path(place).is_relative_to(_STDLIB)
        for place in places
    )


def _version(module: str) -> str:
    """Return the version of the package that a module belongs to."""
    package = sys.modules.get(module.partition(".")[0])
    return str(getattr(package, "__version__", ""))
