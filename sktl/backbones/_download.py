"""Fetch one published file, checked and never half written."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

# Seconds without a byte. A machine behind a silent firewall gets its answer in time,
# which torch.hub, without a timeout, would not give.
TIMEOUT = 30


def download(url: str, path: Path, prefix: str) -> None:
    """Write what ``url`` serves to ``path`` if its SHA-256 starts with ``prefix``.

    The file appears under its name when it is complete and its hash is right. Any
    failure is an ``OSError``.
    """
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that the last step is a rename on one file system.
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        digest = hashlib.sha256()
        request = urllib.request.Request(url, headers={"User-Agent": "sktl"})
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(request, timeout=TIMEOUT) as response,
            tqdm(
                total=int(response.headers.get("Content-Length") or 0) or None,
                desc=path.name,
                unit="B",
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            while block := response.read(1 << 18):
                digest.update(block)
                file.write(block)
                bar.update(len(block))
        found = digest.hexdigest()
        if not found.startswith(prefix):
            raise OSError(
                f"{url} served something else: its SHA-256 begins with "
                f"{found[: len(prefix)]}, expected {prefix}"
            )
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
