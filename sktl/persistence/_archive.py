"""The file itself: a zip of known, uncompressed members behind a manifest."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

from sktl._whole_file import whole_file
from sktl.exceptions import ModelFileError

FORMAT, VERSION = "sktl-model", 1
MANIFEST = "manifest.json"
_MEMBER = re.compile(r"estimator\.skops|part[0-9]{1,4}\.safetensors")
# A manifest describes a model in words and numbers; the arrays are in the members.
_MOST_MANIFEST_BYTES = 16 * 1024**2
_DATE = (1980, 1, 1, 0, 0, 0)  # the same model is the same file


def write_archive(path: Path, manifest: dict, members: dict[str, bytes]) -> None:
    """Write a model file whole, or leave what was there as it was."""
    manifest = {
        "format": FORMAT,
        "format_version": VERSION,
        **manifest,
        "members": {
            name: {"bytes": len(content), "sha256": _sha256(content)}
            for name, content in members.items()
        },
    }
    manifest["digest"] = _digest(manifest)
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    with (
        whole_file(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, content in {MANIFEST: text.encode(), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)


def read_archive(path: Path) -> tuple[dict, dict[str, bytes]]:
    """Read a model file, and return its manifest and members once all of it holds."""
    with open(path, "rb") as file:  # a missing file is the caller's FileNotFoundError
        try:
            with zipfile.ZipFile(file) as archive:
                if MANIFEST not in archive.namelist():
                    raise ModelFileError(_foreign(path, f"it holds no {MANIFEST}"))
                check_stored(archive, path)
                manifest = _read_manifest(archive, path)
                _check_names(archive, manifest, path)
                members = {name: archive.read(name) for name in manifest["members"]}
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            if zipfile.is_zipfile(file):
                raise ModelFileError(_damaged(path, str(error))) from error
            raise ModelFileError(_foreign(path, "it is no zip archive")) from error
    for name, content in members.items():
        recorded = manifest["members"][name]
        found = {"bytes": len(content), "sha256": _sha256(content)}
        if found != recorded:
            raise ModelFileError(
                _damaged(path, f"the content of {name} is not what was saved")
            )
    return manifest, members


def check_stored(archive: zipfile.ZipFile, path) -> None:
    """Refuse compression and encryption: nothing may grow while it is read."""
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise ModelFileError(_damaged(path, "two of its members have the same name"))
    for member in archive.infolist():
        if (
            member.compress_type != zipfile.ZIP_STORED
            or member.file_size != member.compress_size
            or member.flag_bits & 0x1
        ):
            raise ModelFileError(
                _damaged(path, f"{member.filename!r} is compressed or encrypted")
            )


def check_nested(content: bytes, path) -> None:
    """Apply the same checks to a zip that is a member."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_stored(archive, path)
    except zipfile.BadZipFile as error:
        raise ModelFileError(_damaged(path, str(error))) from error


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> dict:
    if archive.getinfo(MANIFEST).file_size > _MOST_MANIFEST_BYTES:
        raise ModelFileError(_damaged(path, f"its {MANIFEST} is far too large"))
    try:
        manifest = json.loads(archive.read(MANIFEST))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            _damaged(path, f"its {MANIFEST} cannot be read ({error})")
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelFileError(_foreign(path, f"its {MANIFEST} is of something else"))
    version = manifest.get("format_version")
    if version != VERSION:
        raise ModelFileError(
            f"{str(path)!r} has format version {version!r}, and this sktl reads "
            f"version {VERSION}. It was saved by sktl "
            f"{_saved_by(manifest)}: load it with that version, or train it again."
        )
    if manifest.get("digest") != _digest(manifest):
        raise ModelFileError(_damaged(path, f"its {MANIFEST} is not what was saved"))
    if not isinstance(manifest.get("members"), dict):
        raise ModelFileError(_damaged(path, f"its {MANIFEST} names no members"))
    return manifest


def _check_names(archive: zipfile.ZipFile, manifest: dict, path: Path) -> None:
    """Refuse members that no model has; they are read by name, never unpacked."""
    recorded = {MANIFEST, *manifest["members"]}
    strange = set(archive.namelist()) ^ recorded
    strange |= {name for name in manifest["members"] if _MEMBER.fullmatch(name) is None}
    if strange:
        listed = ", ".join(sorted(map(repr, strange))[:5])
        raise ModelFileError(
            _damaged(path, f"members are missing or do not belong to it: {listed}")
        )


def _saved_by(manifest: dict) -> str:
    versions = manifest.get("versions")
    version = versions.get("sktl") if isinstance(versions, dict) else None
    return version if isinstance(version, str) and len(version) < 40 else "unknown"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(manifest: dict) -> str:
    """Return the SHA-256 of a manifest without its own digest."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return _sha256(json.dumps(rest, sort_keys=True).encode())


def _foreign(path, why: str) -> str:
    return f"{str(path)!r} is no model file of sktl: {why}."


def _damaged(path, why: str) -> str:
    return (
        f"{str(path)!r} is damaged or was altered: {why}. Copy it again from where it "
        "came from, or train it again."
    )
