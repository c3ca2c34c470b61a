"""The store as its owner sees it: figures, bounds, sharing, sessions."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

from sktl.engine import EmbeddingStore, activations, images_embedded
from sktl.engine import _session as session_module
from sktl.engine._memory import RowMemory
from sktl.engine._owner import Owner
from sktl.engine._rows_format import CorruptRowError, decode_row, encode_row
from sktl.engine._session import session_folder
from sktl.engine._shelf import Shelf, _shelves

from .fakes import make_part, make_rows


def fill(shelf, numbers, size=1000):
    for i in numbers:
        row = np.full(size, i + 0.1, dtype=np.float32)
        shelf.write({i.to_bytes(32, "little"): row}, Owner())


@pytest.mark.parametrize("shape", [(512,), (3, 4, 5), (), (0,)])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16", "special"])
def test_stored_rows_are_what_was_computed(shape, kind):
    row = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if kind == "bfloat16":
        row = (row.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    elif kind == "float16":
        row = row.astype(np.float16).astype(np.float32)
    elif kind == "special":
        row = row * np.float32(np.inf)
    key = b"k" * 32
    blob = encode_row(key, row)
    np.testing.assert_array_equal(decode_row(key, blob), row)
    assert decode_row(key, blob).shape == shape
    if kind in ("bfloat16", "float16") and row.size > 100:
        assert len(blob) < 2 * row.size + 64
    with pytest.raises(CorruptRowError):
        decode_row(b"x" * 32, blob)


def test_info_says_what_is_there(tmp_path):
    store = EmbeddingStore(tmp_path / "store", max_bytes=10**7)
    assert store.info() == {
        "path": str(tmp_path / "store"),
        "rows": 0,
        "bytes": 0,
        "computed": 0,
        "max_bytes": 10**7,
    }
    assert not (tmp_path / "store").exists()  # asking makes nothing
    activations(make_rows(10), make_part(), cache=store)
    activations(make_rows(10), make_part(), cache=store)
    info = store.info()
    assert (info["rows"], info["computed"]) == (10, 10)
    assert 0 < info["bytes"] < 200_000


def test_clear_forgets_everything(tmp_path):
    store, rows, part = EmbeddingStore(tmp_path), make_rows(10), make_part()
    activations(rows, part, cache=store)
    store.clear()
    assert store.info()["rows"] == 0
    before = images_embedded()
    activations(rows, part, cache=store)
    assert images_embedded() - before == 10


def test_files_removed_behind_its_back_are_an_empty_store(tmp_path):
    store, rows, part = EmbeddingStore(tmp_path), make_rows(10), make_part()
    activations(rows, part, cache=store)
    for path in tmp_path.iterdir():
        path.unlink()
    before = images_embedded()
    activations(rows, part, cache=store)
    assert images_embedded() - before == 10
    assert store.info()["rows"] == 10


def test_rows_used_longest_ago_go_first(tmp_path):
    shelf = Shelf(str(tmp_path), lasting=True, max_bytes=10**6)
    fill(shelf, range(100))
    shelf._rows._file._connection.execute("UPDATE rows SET used = id")
    keys = [i.to_bytes(32, "little") for i in range(100)]
    shelf.memory.clear()
    shelf.read(keys[:10])  # used again, and so the youngest
    shelf.prune(200_000)
    shelf.memory.clear()
    left = {int.from_bytes(key, "little") for key in shelf.read(keys)}
    assert set(range(10)) <= left
    assert 99 in left
    assert not left & set(range(10, 50))
    assert shelf.figures()["bytes"] <= 200_000


def test_the_bound_is_kept_while_writing(tmp_path):
    shelf = Shelf(str(tmp_path), lasting=False, max_bytes=10**6)
    fill(shelf, range(1000))
    assert shelf.figures()["bytes"] < 1.1 * 10**6
    assert sum(path.stat().st_size for path in tmp_path.glob("rows*")) < 1.2 * 10**6
    shelf.memory.clear()
    assert shelf.read([(999).to_bytes(32, "little")])


def test_more_than_the_bound_is_announced(tmp_path):
    store = EmbeddingStore(tmp_path, max_bytes=100_000)
    part = make_part(("stem",), "flatten")
    with pytest.warns(UserWarning, match=r"max_bytes"):
        activations(make_rows(100), part, cache=store)


def test_memory_is_bounded_and_drops_the_oldest():
    memory = RowMemory(max_bytes=50_000)
    for i in range(100):
        memory.write({bytes([i]): np.zeros(500, np.float32)})
        memory.read([bytes([0])])
    held = memory.read([bytes([i]) for i in range(100)])
    assert 15 < len(held) < 25
    assert {bytes([0]), bytes([99])} <= held.keys()
    assert bytes([1]) not in held


def test_memory_keeps_no_batch_alive():
    memory, batch = RowMemory(), np.zeros((64, 100), np.float32)
    memory.write({b"a": batch[3]})
    assert memory.read([b"a"])[b"a"].base is None


def test_store_is_a_parameter_like_any_other(tmp_path):
    class Estimator(BaseEstimator):
        def __init__(self, cache=None):
            self.cache = cache

    store = EmbeddingStore(tmp_path, max_bytes=10**6)
    activations(make_rows(3), make_part(), cache=store)
    for twin in (
        clone(Estimator(store)).cache,
        copy.deepcopy(store),
        pickle.loads(pickle.dumps(store)),
    ):
        assert twin == store
        assert hash(twin) == hash(store)
        assert twin.info()["rows"] == 3
    assert len(pickle.dumps(store)) < 1000
    assert "10" in repr(store)
    assert repr(store).startswith("EmbeddingStore(")


def test_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "here"))
    assert EmbeddingStore().path == str(tmp_path / "here" / "embeddings")


@pytest.mark.parametrize("bad", [0, -1, 1.5, "1GB"])
def test_senseless_bound_is_an_error(tmp_path, bad):
    with pytest.raises(ValueError, match="max_bytes"):
        EmbeddingStore(tmp_path, max_bytes=bad)


def test_senseless_cache_is_an_error():
    with pytest.raises(ValueError, match="cache=3"):
        activations(make_rows(1), make_part(), cache=3)


def test_session_folder_is_private_and_found_by_children():
    folder = session_folder()
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    code = "from sktl.engine._session import session_folder; print(session_folder())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == folder
    assert Path(folder).exists()  # the child was not its owner


def test_session_ends_with_the_process_that_began_it(tmp_path):
    code = "from sktl.engine._session import session_folder; print(session_folder())"
    environment = {k: v for k, v in os.environ.items() if k != "SKTL_SESSION"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert not Path(done.stdout.strip()).exists()
    assert Path(done.stdout.strip()).parent == tmp_path


def test_sessions_of_killed_runs_are_swept(tmp_path):
    code = (
        "import os; from sktl.engine._session import session_folder;"
        "print(session_folder(), flush=True); os.kill(os.getpid(), 9)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "SKTL_SESSION"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    left = Path(done.stdout.strip())
    assert left.exists()
    mine = Path(session_folder())
    session_module._folder_of.cache_clear()
    session_folder()
    assert not left.exists()
    assert mine.exists()


def test_workers_started_before_the_import_share_the_session_too():
    code = """
from joblib import Parallel, delayed

def folder(i):
    import os, time
    time.sleep(0.3)
    had = "SKTL_SESSION" in os.environ
    from sktl.engine._session import session_folder
    return had, session_folder()

Parallel(n_jobs=2)(delayed(abs)(i) for i in range(4))
import sktl
first = Parallel(n_jobs=2)(delayed(folder)(i) for i in range(4))
print(first[0][0], len({f for _, f in first} | {folder(0)[1]}))
"""
    environment = {k: v for k, v in os.environ.items() if k != "SKTL_SESSION"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout.split() == ["False", "1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_uses_a_connection_of_its_own(tmp_path):
    rows, part = make_rows(10), make_part()
    expected = activations(rows, part, cache=tmp_path)
    shelf = _shelves[os.path.realpath(tmp_path)]
    code = 1
    pid = os.fork()
    if pid == 0:
        try:
            shelf.memory.clear()
            values = activations(rows, part, cache=tmp_path)
            fill(shelf, range(5))
            code = int(not np.array_equal(values, expected))
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert shelf.figures()["rows"] == 15
