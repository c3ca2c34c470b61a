"""Read a weights file without executing it, and load it into a network."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError

# Where training scripts keep the state_dict in a checkpoint, the most likely first.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "module"),
    *("net", "network", "weights", "params"),
)
# What DataParallel, torch.compile, Lightning and others put before each key.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
# Common names of classifiers: in a file for another task they may be anything.
_HEADS = (
    *("fc", "classifier", "head", "heads", "last_linear", "head_dist"),
    *("aux1", "aux2", "AuxLogits", "aux_classifier"),
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` or torch file by name.

    Raises
    ------
    WeightsUnavailableError
        If the file is damaged, is not a weights file, or holds more than tensors.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    text = head.lstrip().lower()
    if head[8:9] == b"{":  # eight bytes of length, then the JSON header
        return _unwrapped(_read_safetensors(path), path)
    # Files that are often downloaded by mistake instead of weights.
    if not head:
        what = "is empty"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml", b"{", b"<head")):
        what = "is a web page, not weights (a download that asked for a login?)"
    elif text.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer, not the file it points to (run `git lfs pull`)"
    else:
        return _unwrapped(_read_torch(path), path)
    raise _unusable(path, what)


def _unusable(path: Path, what: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(f"The weights file {str(path)!r} {what}.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        what = f"is damaged or incomplete ({error}). Fetch it again"
        raise _unusable(path, what) from error


def _read_torch(path: Path) -> object:
    save = "Save only the tensors: torch.save(model.state_dict(), path)"
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asks = re.search(
            r"(?:GLOBAL|Unsupported class|Unsupported global:?) (\S+)", str(error)
        )
        held = f" (it asks for {asks[1]})" if asks else ""
        what = (
            f"is damaged or holds more than tensors{held}; sktl never executes what a "
            f"file contains. {save}"
        )
        raise _unusable(path, what) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        if "TorchScript" in str(error):
            what = f"is a TorchScript archive, which is code. {save}"
        else:
            reason = str(error).partition("\n")[0] or type(error).__name__
            what = f"is damaged or incomplete ({reason}). Fetch it again"
        raise _unusable(path, what) from error


def _unwrapped(state: object, path: Path) -> dict[str, Tensor]:
    """Return the tensors that a checkpoint holds, with their versions."""
    for _ in range(3):
        if not isinstance(state, Mapping):
            break
        inner = (state.get(key) for key in _WRAPPERS)
        wrapped = next((value for value in inner if isinstance(value, Mapping)), None)
        tensors = OrderedDict(
            (key, value) for key, value in state.items() if isinstance(value, Tensor)
        )
        if tensors and wrapped is None:
            if hasattr(state, "_metadata"):
                tensors._metadata = state._metadata  # type: ignore[attr-defined]
            return tensors
        state = wrapped
    what = f"holds no tensors by name, at the top or under {_WRAPPERS[:3]}"
    raise _unusable(path, f"{what}. Save it with torch.save(model.state_dict(), path)")


def fit_state_dict(
    model: nn.Module,
    trunk: Iterable[nn.Module],
    state: Mapping[str, Tensor],
    name: str,
    path: Path,
    translate: Callable[[nn.Module, dict], Mapping[str, Tensor]] | None = None,
) -> None:
    """Give ``model`` the weights of ``state``, as far as ``trunk`` needs them.

    Anything outside the trunk (the classifier, the heads of a detector) may be missing,
    unknown or of another shape. ``translate`` brings old keys up to date.

    Raises
    ------
    WeightsMismatchError
        If the trunk lacks a key, a shape differs or the file has keys that the
        network does not know.
    """
    own = model.state_dict(keep_vars=True)
    needed = _keys_in(own, trunk)
    prefix = _prefix(state, needed)
    metadata = getattr(state, "_metadata", None)
    plain = OrderedDict(state)
    if metadata is not None:
        plain._metadata = OrderedDict(metadata)  # type: ignore[attr-defined]
    for part in re.findall(r"[^.]+\.", prefix):
        consume_prefix_in_state_dict_if_present(plain, part)
    heads = _head_prefixes(model, needed)
    kept = OrderedDict(
        (key, value.to(own[key].dtype) if key in own else value)
        for key, value in (translate(model, plain) if translate else plain).items()
        if key in needed or not key.startswith(heads)
    )
    # A file without metadata is taken to be of today's version.
    versions = getattr(plain, "_metadata", None) or model.state_dict()._metadata  # type: ignore[attr-defined]
    kept._metadata = versions  # type: ignore[attr-defined]
    try:
        found = model.load_state_dict(kept, strict=False, assign=True)
    except RuntimeError as error:
        problems = [_listing([line.strip() for line in str(error).splitlines()[1:]])]
    else:
        missing = [
            key
            for key in found.missing_keys
            if key in needed and not key.endswith("num_batches_tracked")
        ]
        problems = [
            f"{what}: {_listing(keys)}"
            for what, keys in [("missing", missing), ("unknown", found.unexpected_keys)]
            if keys
        ]
    if problems:
        raise WeightsMismatchError(
            f"The weights file {str(path)!r} does not fit backbone {name!r}; "
            f"{'; '.join(problems)}. Only its classifier may differ."
        )


def _keys_in(state: Mapping[str, Tensor], modules: Iterable[nn.Module]) -> set[str]:
    """Return the keys of ``state`` whose tensors belong to ``modules``."""
    tensors = {
        id(tensor)
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    }
    return {key for key, tensor in state.items() if id(tensor) in tensors}


def _prefix(state: Mapping[str, Tensor], needed: set[str]) -> str:
    """Return the prefix of the keys of ``state``: the one that explains most keys."""
    candidates = {""}
    for _ in range(3):
        candidates |= {
            prefix + more
            for prefix in candidates
            for more in _PREFIXES
            if any(key.startswith(prefix + more) for key in state)
        }
    return max(
        sorted(candidates, key=len),
        key=lambda prefix: sum(prefix + key in state for key in needed),
    )


def _head_prefixes(model: nn.Module, needed: set[str]) -> tuple[str, ...]:
    """Return the prefixes of keys outside the trunk."""
    known = [name for name, module in model.named_modules() if name]
    prefixes = {
        f"{name}."
        for name in (*known, *_HEADS)
        if not any(key.startswith(f"{name}.") for key in needed)
    }
    return tuple(sorted(prefixes)) or ("\0",)


def _listing(keys: list[str], most: int = 8) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
