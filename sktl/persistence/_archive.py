"""The model file: an uncompressed zip of known members behind a manifest in JSON."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sktl._whole_file import whole_file
from sktl.exceptions import ModelFileError, UnstorableModelError

FORMAT, VERSION = "sktl-model", 1
MANIFEST = "manifest.json"
_MEMBER = re.compile(r"estimator\.skops|part[0-9]{1,4}\.safetensors")
# The manifest describes a model; its arrays are in the members.
_MAX_MANIFEST_BYTES = 16 * 1024**2
_ARRAY_KINDS = "biufUO"
_MAX_ITEM_BYTES = 1 << 16  # a class name of 16,000 letters
_DATE = (1980, 1, 1, 0, 0, 0)  # the same model gives the same bytes


def write_archive(path: Path, manifest: dict, members: dict[str, bytes]) -> None:
    """Write a whole model file, or leave what was there untouched."""
    manifest = {"format": FORMAT, "format_version": VERSION} | manifest
    manifest["members"] = _listed(members)
    manifest["digest"] = _digest(manifest)
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    with (
        whole_file(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, content in {MANIFEST: text.encode(), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)


def read_archive(path: Path) -> tuple[dict, dict[str, bytes]]:
    """Return the manifest and the members of a model file, after checking them all."""
    with open(path, "rb") as file:  # a missing file is the caller's FileNotFoundError
        try:
            with zipfile.ZipFile(file) as archive:
                if MANIFEST not in archive.namelist():
                    raise _foreign(path, f"it has no {MANIFEST}")
                check_stored(archive, path)
                manifest = _read_manifest(archive, path)
                names = set(archive.namelist()) - {MANIFEST}
                strange = names ^ set(manifest["members"])
                strange |= {name for name in names if not _MEMBER.fullmatch(name)}
                if strange:
                    listed = ", ".join(sorted(map(repr, strange))[:5])
                    raise _damaged(path, f"members are missing or unknown: {listed}")
                members = {name: archive.read(name) for name in names}
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            if zipfile.is_zipfile(file):
                raise _damaged(path, str(error)) from error
            raise _foreign(path, "it is not a zip archive") from error
    for name, found in _listed(members).items():
        if found != manifest["members"][name]:
            raise _damaged(path, f"the content of {name} is not what was saved")
    return manifest, members


def check_stored(archive: zipfile.ZipFile, path) -> None:
    """Refuse compression and encryption: nothing may grow while it is read."""
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise _damaged(path, "two of its members have the same name")
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
            raise _damaged(path, f"{member.filename!r} is compressed or encrypted")


def to_plain(value):
    """Return a value as JSON can hold it, with tuples and arrays marked as such."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple):
        return {"tuple": [to_plain(item) for item in value]}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {"dict": [[to_plain(k), to_plain(v)] for k, v in value.items()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in _ARRAY_KINDS:
        return {
            "array": to_plain(value.ravel().tolist()),
            "shape": list(value.shape),
            "dtype": value.dtype.str,
        }
    raise UnstorableModelError(
        f"A model file holds plain data, not {value!r}. Leave it out, or use joblib."
    )


def from_plain(value):
    """Return the value that :func:`to_plain` was given."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"tuple"}:
        return tuple(from_plain(value["tuple"]))
    if set(value) == {"dict"}:
        return {from_plain(key): from_plain(item) for key, item in value["dict"]}
    if set(value) == {"array", "shape", "dtype"}:
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in _ARRAY_KINDS or dtype.itemsize > _MAX_ITEM_BYTES:
            raise ModelFileError(f"A model file holds an array of {dtype}.")
        array = np.empty(len(value["array"]), dtype=dtype)
        array[:] = from_plain(value["array"])
        return array.reshape(value["shape"])
    raise ModelFileError(f"A model file holds an unknown kind of value: {set(value)}.")


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> dict:
    """Return the manifest once its format, version and digest are right."""
    if archive.getinfo(MANIFEST).file_size > _MAX_MANIFEST_BYTES:
        raise _damaged(path, f"its {MANIFEST} is far too large")
    try:
        manifest = json.loads(archive.read(MANIFEST))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its {MANIFEST} is not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _foreign(path, f"its {MANIFEST} describes something else")
    version = manifest.get("format_version")
    if version != VERSION:
        versions = str(manifest.get("versions"))[:200]
        raise ModelFileError(
            f"{str(path)!r} has format version {version!r}; this sktl reads version "
            f"{VERSION}. Load it with the versions that saved it: {versions}."
        )
    listed = isinstance(manifest.get("members"), dict)
    if not listed or manifest.get("digest") != _digest(manifest):
        raise _damaged(path, f"its {MANIFEST} is not what was saved")
    return manifest


def _listed(members: dict[str, bytes]) -> dict[str, dict]:
    """Return what the manifest says about the members."""
    return {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in members.items()
    }


def _digest(manifest: dict) -> str:
    """Return the SHA-256 of a manifest without its own digest."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _foreign(path: Path, why: str) -> ModelFileError:
    """Return the error for a file that sktl did not write."""
    return ModelFileError(f"{str(path)!r} is not a model file of sktl: {why}.")


def _damaged(path, why: str) -> ModelFileError:
    """Return the error for a model file that has changed since it was saved."""
    return ModelFileError(
        f"{str(path)!r} is damaged or was altered: {why}. Copy it or train it again."
    )
