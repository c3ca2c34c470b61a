"""The store as its owner sees it: figures, bounds, sharing."""

import copy
import os
import pickle
import shutil
import signal
import threading

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

from sktl.store import EmbeddingStore, _store_folder, open_store
from sktl.store._row_format import CorruptRowError, decode_row, encode_row
from sktl.store._store_folder import StoreFolder

from .writer import compute, key, row


def fill(folder, numbers, size=1000):
    for i in numbers:
        folder.write({key(i): np.full(size, i + 0.1, dtype=np.float32)})


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


def test_rows_on_disk_keep_their_format():
    # Stores that people have are read by what comes after.
    blob = encode_row(b"k" * 32, np.float32([[1.1, -2.2, 3.3]]))
    assert blob.hex() == (
        "00020100000003000000cdcc8c3fcdcc0cc033335340e141f989694d04fa"
    )
    assert _store_folder._FILE.fullmatch("rows-v1-0001.sqlite")


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
    assert len(list(compute(store, range(10)))) == 10
    assert not list(compute(store, range(10)))
    info = store.info()
    assert (info["rows"], info["computed"]) == (10, 10)
    assert 0 < info["bytes"] < 200_000


def test_clear_forgets_everything(tmp_path):
    store = EmbeddingStore(tmp_path)
    list(compute(store, range(10)))
    store.clear()
    assert store.info()["rows"] == 0
    assert len(list(compute(store, range(10)))) == 10


def test_a_store_removed_behind_its_back_is_an_empty_one(tmp_path):
    store = EmbeddingStore(tmp_path / "store")
    list(compute(store, range(10)))
    shutil.rmtree(tmp_path / "store")
    assert len(list(compute(store, range(10)))) == 10
    assert store.info()["rows"] == 10


def test_rows_used_longest_ago_go_first(tmp_path):
    folder = StoreFolder(str(tmp_path), lasting=True, max_bytes=10**6)
    fill(folder, range(100))
    folder._database._connection.execute("UPDATE rows SET used = id")
    keys = [key(i) for i in range(100)]
    folder.forget()
    folder.read(keys[:10])  # used again, and so the youngest
    folder.prune(200_000)
    left = {int.from_bytes(key, "little") for key in folder.read(keys)}
    assert set(range(10)) <= left
    assert 99 in left
    assert not left & set(range(10, 50))
    assert folder.figures()["bytes"] <= 200_000


@pytest.mark.filterwarnings("ignore:.*this process has written")
def test_the_bound_is_kept_while_writing(tmp_path):
    folder = StoreFolder(str(tmp_path), lasting=False, max_bytes=10**6)
    fill(folder, range(1000))
    assert folder.figures()["bytes"] < 1.1 * 10**6
    assert sum(path.stat().st_size for path in tmp_path.glob("rows*")) < 1.2 * 10**6
    folder.forget()
    assert folder.read([key(999)])


def test_more_than_the_bound_is_announced_once(tmp_path):
    folder = StoreFolder(str(tmp_path), lasting=False, max_bytes=100_000)
    fill(folder, range(24))
    with pytest.warns(UserWarning, match=r"written 100\.\d kB.*max_bytes") as record:
        fill(folder, range(24, 80))
    assert len(record) == 1


def test_memory_is_bounded_and_drops_what_was_used_longest_ago(tmp_path, monkeypatch):
    monkeypatch.setattr(_store_folder, "_MEMORY_BYTES", 50_000)
    folder = StoreFolder(str(tmp_path), lasting=False)
    for i in range(100):
        fill(folder, [i], size=500)
        folder.read([key(0)])
    assert 15 < len(folder.memory) < 25
    assert {key(0), key(99)} <= set(folder.memory)
    assert key(1) not in folder.memory


def test_memory_keeps_no_batch_alive(tmp_path):
    folder, batch = StoreFolder(str(tmp_path), lasting=False), np.zeros((64, 100), "f4")
    folder.write({b"a": batch[3]})
    assert folder.read([b"a"])[b"a"].base is None


def test_store_is_a_parameter_like_any_other(tmp_path):
    class Estimator(BaseEstimator):
        def __init__(self, cache=None):
            self.cache = cache

    store = EmbeddingStore(tmp_path, max_bytes=10**6)
    list(compute(store, range(3)))
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
        open_store(3)


def test_no_cache_keeps_nothing_and_claims_everything():
    assert len(list(compute(None, range(10)))) == 10
    assert len(list(compute(None, range(10)))) == 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_a_connection_and_locks_of_its_own(tmp_path):
    assert len(list(compute(tmp_path, range(10)))) == 10
    folder = open_store(tmp_path)
    held, done = threading.Event(), threading.Event()

    def hold():
        with folder._lock, folder._memory_lock, _store_folder._folders_lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(30)
            found = open_store(tmp_path).read([key(i) for i in range(10)])
            right = all(np.array_equal(found[key(i)], row(i)) for i in range(10))
            fill(folder, range(20, 25))
            code = int(not right)
        finally:
            os._exit(code)
    done.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0
    assert folder.figures()["rows"] == 15
