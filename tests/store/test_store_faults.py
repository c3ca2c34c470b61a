"""Killed, full, read-only, truncated, bit-flipped: right numbers and one warning."""

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from sktl.exceptions import CacheWarning
from sktl.store._store_folder import StoreFolder

from . import writer

HERE = Path(__file__).parent


def fresh(folder):
    """Return the store without anything in memory, as another process sees it."""
    return StoreFolder(str(folder), lasting=True)


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
        arguments = map(str, [tmp_path, 10_000 * round_, 10_000, 0])
        process = subprocess.Popen(
            [sys.executable, str(HERE / "writer.py"), *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        first = process.stdout.readline()  # it is at work now
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        printed = (first + process.stdout.read()).rpartition("\n")[0].split()
        process.wait()
        stored |= {int(number) for number in printed}
        store = fresh(tmp_path)
        keys = [writer.key(i) for i in stored]
        found, warned = caught(lambda s=store, k=keys: s.read(k))
        store.close()
        assert not warned
        assert len(found) == len(stored)
    for i in rng.sample(sorted(stored), 50):
        np.testing.assert_array_equal(found[writer.key(i)], writer.row(i))


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_never_change_a_number(tmp_path, seed):
    store = fresh(tmp_path)
    rows = {writer.key(i): writer.row(i) for i in range(120)}
    store.write(rows)
    store.close()
    path = database_file(tmp_path)
    data = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for _ in range(1 if seed < 6 else 40):
        position = rng.randrange(len(data) if seed % 2 else 4096)
        data[position] ^= 1 << rng.randrange(8)
    path.write_bytes(data)

    def use():
        store = fresh(tmp_path)
        found = store.read(list(rows))
        missing = [key for key in rows if key not in found]
        if missing:
            store.write({key: rows[key] for key in missing})
        store.close()
        return found

    found, warned = caught(use)
    for key, row in found.items():
        np.testing.assert_array_equal(row, rows[key])
    assert len(warned) <= 2
    found, _ = caught(use)  # and what was damaged has been mended
    for key, row in found.items():
        np.testing.assert_array_equal(row, rows[key])


def run_limited(code, *, setup):
    """Run ``code`` in a process limited by ``setup``; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", f"{setup}\n{code}"],
        capture_output=True,
        text=True,
        cwd=HERE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


USE_STORE = """
import warnings, numpy as np, writer
from sktl.store import open_store
with warnings.catch_warnings(record=True) as record:
    warnings.simplefilter("always")
    keys = [writer.key(i) for i in range(300)]
    found = open_store(folder).read(keys)
    computed = list(writer.compute(folder, range(300)))
    assert len(found) + len(computed) == 300
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
    assert run_limited(USE_STORE, setup=setup) == ["0", "1"]
    found, warned = run_limited(USE_STORE, setup=setup)
    assert int(found) > 20
    assert warned == "1"


def test_read_only_folder_is_read_and_warned_about_once(tmp_path):
    store = fresh(tmp_path / "store")
    store.write({writer.key(i): writer.row(i) for i in range(100)})
    store.close()
    os.chmod(database_file(tmp_path / "store"), 0o444)
    os.chmod(tmp_path / "store", 0o555)
    if os.geteuid() == 0:
        parents = [p for p in tmp_path.parents if "pytest" in str(p)]
        for parent in [tmp_path, *parents]:
            os.chmod(parent, 0o755)
    setup = f"import os; folder = {str(tmp_path / 'store')!r}\n" + (
        # The superuser may write anywhere: be nobody.
        "import encodings.ascii, numpy.random, writer, filelock\nos.setuid(65534)"
        if os.geteuid() == 0
        else ""
    )
    assert run_limited(USE_STORE, setup=setup) == ["100", "1"]
    os.chmod(tmp_path / "store", 0o755)
