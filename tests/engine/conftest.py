"""Every test of the engine gets a run of its own."""

import os

import pytest

from sktl.store import _store_folder


@pytest.fixture(autouse=True)
def own_session(monkeypatch, tmp_path):
    """Name a fresh session, in the test's folder, and forget it afterwards."""
    monkeypatch.setenv("SKTL_SESSION", f"{os.getpid()}-{tmp_path.name}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(_store_folder, "_folders", {})
