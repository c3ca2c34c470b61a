"""Read a file of weights without executing it, and give them to a network."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError

# Where training scripts keep the state_dict inside a checkpoint, the likeliest first.
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
# What DataParallel, torch.compile, Lightning and others put before each key.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
# Names under which classifiers go: in a file for another task they may be anything.
_HEADS = (
    "fc",
    "classifier",
    "head",
    "heads",
    "last_linear",
    "head_dist",
    "aux1",
    "aux2",
    "AuxLogits",
    "aux_classifier",
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` or torch file by name.

    Raises
    ------
    WeightsUnavailableError
        If the file is damaged, is no weights file, or holds more than tensors.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    if _is_safetensors(head):
        state = _read_safetensors(path)
    else:
        _refuse_what_is_no_weights_file(path, head)
        state = _read_torch(path)
    return _unwrap(state, path)


def _is_safetensors(head: bytes) -> bool:
    # Eight bytes of length, then the JSON header.
    return len(head) > 8 and head[8:9] == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsUnavailableError(
            f"The safetensors file {str(path)!r} is damaged or incomplete ({error}). "
            "Fetch it again."
        ) from error


def _refuse_what_is_no_weights_file(path: Path, head: bytes) -> None:
    """Name the usual things that are downloaded in place of weights."""
    text = head.lstrip().lower()
    if not head:
        what = "is empty"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml", b"{", b"<head")):
        what = "is a web page, not weights (a download that asked for a login?)"
    elif text.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer, not the file it points to (run `git lfs pull`)"
    else:
        return
    raise WeightsUnavailableError(f"The weights file {str(path)!r} {what}.")


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("Please file an issue")[0]
        wanted = re.search(
            r"(?:GLOBAL|Unsupported class|Unsupported global:?) (\S+)", reason
        )
        held = f" (it asks for {wanted[1]})" if wanted else ""
        raise WeightsUnavailableError(
            f"The weights file {str(path)!r} is damaged or holds more than tensors"
            f"{held}; sktl never executes what a file contains. Where it comes from, "
            "save the tensors alone: torch.save(model.state_dict(), path)."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        if "TorchScript" in str(error):
            message = (
                f"The weights file {str(path)!r} is a TorchScript archive, which is "
                "code. Save the tensors alone: torch.save(model.state_dict(), path)."
            )
        else:
            reason = str(error).partition("\n")[0] or type(error).__name__
            message = (
                f"The weights file {str(path)!r} is damaged or incomplete ({reason}). "
                "Fetch it again."
            )
        raise WeightsUnavailableError(message) from error


def _unwrap(state: object, path: Path) -> dict[str, Tensor]:
    """Return the mapping of tensors that a checkpoint holds."""
    for _ in range(3):
        if not isinstance(state, Mapping):
            break
        tensors = {
            key: value for key, value in state.items() if isinstance(value, Tensor)
        }
        inner = next(
            (state[key] for key in _WRAPPERS if isinstance(state.get(key), Mapping)),
            None,
        )
        if tensors and inner is None:
            result = type(state)() if hasattr(state, "_metadata") else {}
            result.update(tensors)
            if hasattr(state, "_metadata"):
                result._metadata = state._metadata
            return result
        state = inner
    raise WeightsUnavailableError(
        f"The weights file {str(path)!r} holds no tensors by name, at the top or under "
        f"{', '.join(map(repr, _WRAPPERS[:3]))}. Save it with "
        "torch.save(model.state_dict(), path)."
    )


def fit_state_dict(
    model: nn.Module,
    trunk: Iterable[nn.Module],
    state: Mapping[str, Tensor],
    *,
    name: str,
    path: Path,
    translate: Callable[[nn.Module, dict], dict] | None = None,
) -> None:
    """Give ``model`` the weights of ``state``, as far as ``trunk`` needs them.

    Whatever lies outside of the trunk (the classifier, the heads of a detector) may be
    missing, foreign or of another shape.

    Raises
    ------
    WeightsMismatchError
        If the trunk lacks a key, a shape differs or the file knows keys that the
        network does not.
    """
    own = model.state_dict(keep_vars=True)
    needed = _keys_in(own, trunk)
    metadata = getattr(state, "_metadata", None)
    prefix = _prefix(state, needed)
    state = {
        key[len(prefix) :] if key.startswith(prefix) else key: value
        for key, value in state.items()
    }
    if translate is not None:
        state = translate(model, state)
    heads = _head_prefixes(model, needed)
    kept = _Tensors(
        (key, value.to(own[key].dtype) if key in own else value)
        for key, value in state.items()
        if key in needed or not key.startswith(heads)
    )
    # Without the metadata of the file its modules are taken to be of today's version.
    kept._metadata = metadata or getattr(model.state_dict(), "_metadata", None)
    if prefix and metadata:
        kept._metadata = {k.removeprefix(prefix): v for k, v in metadata.items()}
    shapes = [
        f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in kept.items()
        if key in needed and value.shape != own[key].shape
    ]
    missing: list[str] = []
    unexpected: list[str] = []
    if not shapes:
        try:
            result = model.load_state_dict(kept, strict=False, assign=True)
        except RuntimeError as error:
            shapes = [line.strip() for line in str(error).splitlines()[1:]]
        else:
            missing = [
                key
                for key in result.missing_keys
                if key in needed and not key.endswith("num_batches_tracked")
            ]
            unexpected = list(result.unexpected_keys)
    if missing or unexpected or shapes:
        parts = [
            f"{what}: {_listing(keys)}"
            for what, keys in (
                ("missing", missing),
                ("unknown", unexpected),
                ("of another shape", shapes),
            )
            if keys
        ]
        raise WeightsMismatchError(
            f"The weights file {str(path)!r} does not fit backbone {name!r}; "
            f"{'; '.join(parts)}. Only its classifier may differ."
        )


class _Tensors(dict):
    """A state_dict with room for the versions of its modules."""


def _keys_in(state: Mapping[str, Tensor], modules: Iterable[nn.Module]) -> set[str]:
    """Return the keys of ``state`` whose tensors belong to ``modules``."""
    tensors = {
        id(tensor)
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    }
    return {key for key, tensor in state.items() if id(tensor) in tensors}


def _prefix(state: Mapping[str, Tensor], needed: set[str]) -> str:
    """Return what stands before the keys of ``state``, by how many keys it explains."""
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
    """Return the starts of keys that lie outside of the trunk."""
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
