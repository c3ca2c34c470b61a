"""Activations in front of a store that is altered, truncated, foreign or full."""

import os
import sqlite3
import warnings
from pathlib import Path

import numpy as np
import pytest

from sktl.engine import activations, images_embedded
from sktl.exceptions import CacheWarning
from sktl.store import EmbeddingStore, _store_folder, open_store

from .fakes import make_part, make_rows, reference


def database_file(folder):
    return max(Path(folder).glob("rows-*.sqlite"))


def caught(action):
    """Run ``action`` and return its result and the CacheWarnings."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        result = action()
    return result, [w for w in record if issubclass(w.category, CacheWarning)]


def test_stored_values_that_were_altered_are_computed_again(tmp_path):
    rows, part = make_rows(20), make_part()
    expected = activations(rows, part, cache=tmp_path)
    connection = sqlite3.connect(database_file(tmp_path))
    with connection:
        connection.execute(
            "UPDATE rows SET data = substr(data, 1, 20) || x'00' || substr(data, 22)"
            " WHERE id <= 5"
        )
    connection.close()
    _store_folder._folders.clear()
    before = images_embedded()
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert len(warned) == 1
    assert images_embedded() - before == 5
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    _store_folder._folders.clear()
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert not warned
    assert images_embedded() - before == 5


@pytest.mark.parametrize("left", [0, 1, 100, 5000, 16384, 40000])
@pytest.mark.parametrize("is_open", [True, False])
def test_truncated_file_gives_right_numbers_and_one_warning(tmp_path, left, is_open):
    rows, part = make_rows(40), make_part(("stem",), "flatten")
    expected = activations(rows, part, cache=tmp_path)
    store = open_store(tmp_path)
    store.forget()
    if not is_open:
        store.close()
    os.truncate(database_file(tmp_path), left)
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    # A file of no bytes (or one) is an empty store to SQLite, and no damage.
    assert len(warned) == (0 if left <= 1 and not is_open else 1)
    before = images_embedded()
    store.forget()
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert not warned
    assert images_embedded() == before
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_another_programs_database_is_left_alone(tmp_path):
    path = tmp_path / "rows-v1-0001.sqlite"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE precious(x)")
        connection.execute("INSERT INTO precious VALUES(42)")
    connection.close()
    rows, part = make_rows(5), make_part()
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert len(warned) == 1
    np.testing.assert_allclose(values, reference(rows, part), rtol=1e-5, atol=1e-6)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT x FROM precious").fetchone() == (42,)
    connection.close()


def test_triggers_in_a_foreign_store_do_not_run(tmp_path):
    rows, part = make_rows(5), make_part()
    activations(rows, part, cache=tmp_path)
    path = database_file(tmp_path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "CREATE TRIGGER evil AFTER INSERT ON rows BEGIN DELETE FROM rows; END"
        )
    connection.close()
    _store_folder._folders.clear()
    _, warned = caught(lambda: activations(make_rows(9), part, cache=tmp_path))
    assert len(warned) == 1
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM rows").fetchone() == (5,)
    connection.close()


def test_full_disk_gives_right_numbers_and_one_warning(tmp_path, monkeypatch):
    original = _store_folder.Database._prepare

    def small(self, durable):
        original(self, durable)
        self._connection.execute("PRAGMA max_page_count=8")

    monkeypatch.setattr(_store_folder.Database, "_prepare", small)
    rows, part = make_rows(60), make_part(("stem",), "flatten")
    expected = activations(rows, part, cache=None)
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert len(warned) == 1
    assert "full" in str(warned[0].message)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert not warned
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_folder_that_cannot_be_made_is_warned_about_once(tmp_path):
    (tmp_path / "file").write_text("")
    rows, part = make_rows(5), make_part()
    cache = EmbeddingStore(tmp_path / "file" / "store")
    values, warned = caught(lambda: activations(rows, part, cache=cache))
    assert len(warned) == 1
    np.testing.assert_allclose(values, reference(rows, part), rtol=1e-5, atol=1e-6)
    _, warned = caught(lambda: activations(rows, part, cache=cache))
    assert not warned


def test_only_the_owner_may_read(tmp_path):
    activations(make_rows(3), make_part(), cache=tmp_path / "a" / "store")
    folder = tmp_path / "a" / "store"
    for path in [folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
