"""Who computes what: claims, and what becomes of those whose owner is gone."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sktl.store import EmbeddingStore, _claims, open_store
from sktl.store._claims import Claims

from .writer import compute, key, row

WRITER = [sys.executable, str(Path(__file__).with_name("writer.py"))]
KEYS = [key(i) for i in range(4)]


def start_writer(folder, start, n, delay=0.0):
    return subprocess.Popen(
        [*WRITER, str(folder), str(start), str(n), str(delay)],
        stdout=subprocess.PIPE,
        text=True,
    )


def start_owner(folder):
    """Return a process that has claimed the first keys and will not end by itself."""
    process = start_writer(folder, 0, 4, delay=600)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open_store(folder).claims() as claims:
            if not claims.take(KEYS):
                return process
        time.sleep(0.02)
    raise AssertionError("it claimed nothing")


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


def files(folder):
    return sorted(path.name for path in Path(folder, "claims").iterdir())


def test_a_key_is_claimed_by_one_call_at_a_time(tmp_path):
    store = open_store(tmp_path)
    with store.claims() as first, store.claims() as second:
        assert first.take(KEYS[:3]) == KEYS[:3]
        assert second.take(KEYS) == KEYS[3:]
        assert first.take(KEYS) == KEYS[:3]  # what is its own stays its own
        first.release(KEYS[:2])
        assert second.take(KEYS) == [KEYS[0], KEYS[1], KEYS[3]]
    assert files(tmp_path) == ["door.lock"]


def test_what_a_call_claims_is_free_when_it_ends(tmp_path):
    store = open_store(tmp_path)
    with store.claims() as other:
        with contextlib.suppress(KeyboardInterrupt), store.claims() as claims:
            claims.take(KEYS)
            assert other.take(KEYS) == []
            raise KeyboardInterrupt
        other.wait(KEYS)
        assert other.take(KEYS) == KEYS


def test_waiting_ends_as_soon_as_one_claim_does(tmp_path):
    store = open_store(tmp_path)
    with store.claims() as first, store.claims() as second:
        first.take(KEYS)
        second.take(KEYS)
        first.release(KEYS[2:3])
        second.wait(KEYS)
        assert second.take(KEYS) == KEYS[2:3]


def test_rows_claimed_by_a_killed_process_are_free_at_once(tmp_path):
    process = start_owner(tmp_path)
    with open_store(tmp_path).claims() as claims:
        assert claims.take(KEYS) == []
        end(process)
        start = time.monotonic()
        claims.wait(KEYS)
        assert claims.take(KEYS) == KEYS
    assert time.monotonic() - start < 5
    assert files(tmp_path) == ["door.lock"]  # and what it left is gone


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_process_that_is_stopped_does_not_block_others_for_ever(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(_claims, "_STUCK_SECONDS", 0.3)
    process = start_owner(tmp_path)
    process.send_signal(signal.SIGSTOP)
    with open_store(tmp_path).claims() as claims:
        assert claims.take(KEYS) == []
        start = time.monotonic()
        claims.wait(KEYS)
        assert 0.3 <= time.monotonic() - start < 10
        assert claims.take(KEYS) == KEYS
    end(process)


def test_a_slow_owner_that_gets_on_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(_claims, "_STUCK_SECONDS", 2.0)
    last = [key(i) for i in range(36, 40)]
    store = open_store(tmp_path)
    with store.claims() as slow, store.claims() as other:
        slow.take([key(i) for i in range(40)])
        assert other.take(last) == []

        def work():
            for i in range(40):
                time.sleep(0.1)
                store.write({key(i): row(i)})
                slow.release([key(i)])

        thread = threading.Thread(target=work)
        thread.start()
        other.wait(last)
        assert key(36) in store.read(last)
        thread.join()


def test_a_door_that_stays_shut_is_passed_by(tmp_path, monkeypatch):
    monkeypatch.setattr(_claims, "_DOOR_SECONDS", 0.2)
    store = open_store(tmp_path)
    with store.claims() as claims:
        claims.take(KEYS[:1])
        door = _claims._lock(str(tmp_path / "claims" / "door.lock"))
        with door.acquire():
            other = store.claims()
            start = time.monotonic()
            assert other.take(KEYS) == KEYS
            assert other.take(KEYS) == KEYS
            assert time.monotonic() - start < 5  # it waits once
            other.wait(KEYS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_neither_ends_nor_keeps_what_its_parent_claims(tmp_path):
    store = open_store(tmp_path)
    claims = store.claims()
    claims.take(KEYS)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            claims.__exit__()
            with store.claims() as own:
                mine = own.take(KEYS)
            os.write(write, b"%d" % len(mine))
        finally:
            time.sleep(1)
            os._exit(0)
    assert os.read(read, 1) == b"0"
    with store.claims() as other:
        assert other.take(KEYS) == []
        claims.__exit__()  # while the child still lives
        assert other.take(KEYS) == KEYS
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("damage", ["list", "folder"])
def test_damaged_claims_cost_nothing_but_time(tmp_path, damage):
    list(compute(tmp_path, range(5)))
    if damage == "list":
        (tmp_path / "claims" / "abc.keys").write_bytes(b"+nonsense\n\0\xff" * 500)
        lock = _claims._lock(str(tmp_path / "claims" / "abc.lock"))
        lock.acquire()
    else:
        (tmp_path / "claims" / "door.lock").unlink()
        (tmp_path / "claims").rmdir()
        (tmp_path / "claims").write_bytes(b"nonsense")
    assert list(compute(tmp_path, range(20))) == list(range(5, 20))
    found = open_store(tmp_path).read([key(i) for i in range(20)])
    for i in range(20):
        np.testing.assert_array_equal(found[key(i)], row(i))


def test_without_a_folder_every_key_is_ones_own():
    with Claims(None) as first, Claims(None) as second:
        assert first.take(KEYS) == second.take(KEYS) == KEYS
        second.wait(KEYS)


def test_two_writers_never_store_the_same_row(tmp_path):
    writers = [start_writer(tmp_path, 0, 400, 0.001) for _ in range(3)]
    printed = [w.communicate(timeout=60)[0].split() for w in writers]
    assert all(words.pop() == "done" for words in printed)
    numbers = [word for words in printed for word in words]
    assert len(numbers) == len(set(numbers)) == 400
    found = open_store(tmp_path).read([key(i) for i in range(400)])
    assert len(found) == 400
    for i in range(400):
        np.testing.assert_array_equal(found[key(i)], row(i))
    assert EmbeddingStore(tmp_path).info()["computed"] == 400
