"""Folders of small images, and the command as a function."""

import json

import pytest
from typer.testing import CliRunner

from tests.cli.digit_files import save_digits


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Give each test a cache of its own."""
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def run():
    """Return a function that runs a command line in this process."""
    from sktl.cli._app import app

    def run(*args, json_output=False):
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        if result.exception is not None and not isinstance(
            result.exception, SystemExit
        ):
            raise result.exception
        return json.loads(result.stdout) if json_output else result

    return run


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory):
    """Return a folder of 24 images of two digits, 12 of each; leave it as it is."""
    folder = tmp_path_factory.mktemp("digits")
    save_digits(folder, 12)
    return folder
