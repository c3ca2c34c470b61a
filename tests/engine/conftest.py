"""Every test of the engine gets a run of its own."""

import os

import pytest

from sktl.engine import _shelf


@pytest.fixture(autouse=True)
def own_session(monkeypatch, tmp_path):
    """Name a fresh session, in the test's folder, and forget it afterwards."""
    monkeypatch.setenv("SKTL_SESSION", f"{os.getpid()}-{tmp_path.name}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "cache"))
    shelves = dict(_shelf._shelves)
    yield
    for folder, shelf in list(_shelf._shelves.items()):
        if folder not in shelves:
            shelf.close()
            del _shelf._shelves[folder]
