"""Killed, full, read-only, truncated, bit-flipped: right numbers and one warning."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from sktl.engine import EmbeddingStore, activations, images_embedded
from sktl.engine import _shelf as shelf_module
from sktl.engine._owner import Owner
from sktl.engine._shelf import Shelf
from sktl.exceptions import CacheWarning

from . import writer
from .fakes import make_part, make_rows, reference

WRITER = [sys.executable, "-m", "tests.engine.writer"]
ROOT = Path(__file__).parents[2]


def start_writer(folder, start, n, delay=0.0):
    return subprocess.Popen(
        [*WRITER, str(folder), str(start), str(n), str(delay)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def fresh_shelf(folder):
    """Return a shelf that has nothing in memory, as another process would see it."""
    return Shelf(str(folder), lasting=True)


def database_file(folder):
    return max(Path(folder).glob("rows-*.sqlite"))


def caught(action):
    """Run ``action`` and return its result and the CacheWarnings."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        result = action()
    return result, [w for w in record if issubclass(w.category, CacheWarning)]


@pytest.mark.parametrize(
    "times", [8, pytest.param(100, marks=pytest.mark.slow)], ids=str
)
def test_killed_at_any_moment_it_loses_only_what_was_in_flight(tmp_path, times):
    rng = random.Random(0)
    stored = set()
    for round_ in range(times):
        process = start_writer(tmp_path, 10_000 * round_, 10_000)
        first = process.stdout.readline()  # it is at work now
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        printed = (first + process.stdout.read()).rpartition("\n")[0].split()
        process.wait()
        stored |= {int(number) for number in printed}
        shelf = fresh_shelf(tmp_path)
        keys = [writer.key(i) for i in stored]
        found, warned = caught(lambda s=shelf, k=keys: s.read(k))
        shelf.close()
        assert not warned
        assert len(found) == len(stored)
    for i in rng.sample(sorted(stored), 50):
        np.testing.assert_array_equal(found[writer.key(i)], writer.row(i))


def test_rows_claimed_by_a_killed_process_are_free_at_once(tmp_path):
    process = start_writer(tmp_path, 0, 4, delay=60)
    shelf = fresh_shelf(tmp_path)
    keys = [writer.key(i) for i in range(4)]
    deadline = time.monotonic() + 30
    while shelf.free(keys) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert shelf.free(keys) == []
    assert shelf.claim(keys, Owner()) == (set(), set())
    process.kill()
    process.wait()
    assert shelf.free(keys) == keys
    assert shelf.claim(keys, Owner()) == (set(keys), set())


def test_two_writers_never_store_the_same_row(tmp_path):
    writers = [start_writer(tmp_path, 0, 400, 0.001) for _ in range(3)]
    printed = [w.communicate(timeout=60)[0].split() for w in writers]
    assert all(words.pop() == "done" for words in printed)
    numbers = [word for words in printed for word in words]
    assert len(numbers) == len(set(numbers)) == 400
    shelf = fresh_shelf(tmp_path)
    found = shelf.read([writer.key(i) for i in range(400)])
    assert len(found) == 400
    for i in range(400):
        np.testing.assert_array_equal(found[writer.key(i)], writer.row(i))
    assert shelf.figures()["computed"] == 400


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
    shelf_module._shelves.clear()
    before = images_embedded()
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert len(warned) == 1
    assert images_embedded() - before == 5
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    shelf_module._shelves.clear()
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert not warned
    assert images_embedded() - before == 5


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_never_change_a_number(tmp_path, seed):
    shelf = fresh_shelf(tmp_path)
    rows = {writer.key(i): writer.row(i) for i in range(120)}
    shelf.write(rows, Owner())
    shelf.close()
    path = database_file(tmp_path)
    data = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for _ in range(1 if seed < 6 else 40):
        position = rng.randrange(len(data) if seed % 2 else 4096)
        data[position] ^= 1 << rng.randrange(8)
    path.write_bytes(data)

    def use():
        shelf = fresh_shelf(tmp_path)
        owner = Owner()
        found = shelf.read(list(rows))
        missing = [key for key in rows if key not in found]
        if missing:
            shelf.claim(missing, owner)
            shelf.write({key: rows[key] for key in missing}, owner)
        shelf.leave(owner)
        shelf.close()
        return found

    found, warned = caught(use)
    for key, row in found.items():
        np.testing.assert_array_equal(row, rows[key])
    assert len(warned) <= 2
    found, _ = caught(use)  # and what was damaged has been mended
    for key, row in found.items():
        np.testing.assert_array_equal(row, rows[key])


@pytest.mark.parametrize("left", [0, 1, 100, 5000, 16384, 40000])
@pytest.mark.parametrize("is_open", [True, False])
def test_truncated_file_gives_right_numbers_and_one_warning(tmp_path, left, is_open):
    rows, part = make_rows(40), make_part(("stem",), "flatten")
    expected = activations(rows, part, cache=tmp_path)
    shelf = shelf_module.shelf_at(str(tmp_path), max_bytes=None, lasting=True)
    shelf.memory.clear()
    if not is_open:
        shelf.close()
    os.truncate(database_file(tmp_path), left)
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    # A file of no bytes (or one) is an empty store to SQLite, and no damage.
    assert len(warned) == (0 if left <= 1 and not is_open else 1)
    before = images_embedded()
    shelf.memory.clear()
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
    shelf_module._shelves.clear()
    _, warned = caught(lambda: activations(make_rows(9), part, cache=tmp_path))
    assert len(warned) == 1
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM rows").fetchone() == (5,)
    connection.close()


def test_full_disk_gives_right_numbers_and_one_warning(tmp_path, monkeypatch):
    original = shelf_module.Database._prepare

    def small(self, durable):
        original(self, durable)
        self._connection.execute("PRAGMA max_page_count=8")

    monkeypatch.setattr(shelf_module.Database, "_prepare", small)
    rows, part = make_rows(60), make_part(("stem",), "flatten")
    expected = activations(rows, part, cache=None)
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert len(warned) == 1
    assert "full" in str(warned[0].message)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert not warned
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def run_limited(code, *, setup):
    """Run ``code`` in a process limited by ``setup``; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", f"{setup}\n{code}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


USE_SHELF = """
import warnings, numpy as np
from sktl.engine._owner import Owner
from sktl.engine._shelf import Shelf
from tests.engine import writer
with warnings.catch_warnings(record=True) as record:
    warnings.simplefilter("always")
    shelf = Shelf(folder, lasting=True)
    keys = [writer.key(i) for i in range(300)]
    found = shelf.read(keys)
    owner = Owner()
    for i in range(300):
        if keys[i] not in found:
            shelf.claim([keys[i]], owner)
            shelf.write({keys[i]: writer.row(i)}, owner)
    shelf.leave(owner)
    for key, row in found.items():
        assert np.array_equal(row, writer.row(int.from_bytes(key, "little")))
print(len(found), len(record))
"""


def test_file_size_limit_gives_one_warning(tmp_path):
    pytest.importorskip("resource")
    setup = (
        f"import resource; folder = {str(tmp_path)!r}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    )
    assert run_limited(USE_SHELF, setup=setup) == ["0", "1"]
    found, warned = run_limited(USE_SHELF, setup=setup)
    assert int(found) > 20
    assert warned == "1"


def test_read_only_folder_is_read_and_warned_about_once(tmp_path):
    shelf = fresh_shelf(tmp_path / "store")
    shelf.write({writer.key(i): writer.row(i) for i in range(100)}, Owner())
    shelf.close()
    os.chmod(database_file(tmp_path / "store"), 0o444)
    os.chmod(tmp_path / "store", 0o555)
    if os.geteuid() == 0:
        parents = [p for p in tmp_path.parents if "pytest" in str(p)]
        for parent in [tmp_path, *parents]:
            os.chmod(parent, 0o755)
    setup = f"import os; folder = {str(tmp_path / 'store')!r}\n" + (
        # The superuser may write anywhere: be nobody.
        "import encodings.ascii, numpy.random, tests.engine.writer\nos.setuid(65534)"
        if os.geteuid() == 0
        else ""
    )
    assert run_limited(USE_SHELF, setup=setup) == ["100", "1"]
    os.chmod(tmp_path / "store", 0o755)


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
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())


def test_damaged_claims_cost_nothing_but_time(tmp_path):
    rows, part = make_rows(20), make_part()
    activations(make_rows(5), part, cache=tmp_path)
    shelf_module._shelves.clear()
    (tmp_path / "claims-v1.sqlite").write_bytes(b"nonsense" * 5000)
    before = images_embedded()
    values, warned = caught(lambda: activations(rows, part, cache=tmp_path))
    assert not warned
    assert images_embedded() - before == 15
    np.testing.assert_allclose(values, reference(rows, part), rtol=1e-5, atol=1e-6)
