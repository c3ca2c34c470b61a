"""The folder of a run: private, shared by its processes, gone after its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sktl.store import _session_folder
from sktl.store._session_folder import session_folder

PRINT_FOLDER = (
    "import os; from sktl.store._session_folder import session_folder;"
    "print(session_folder(), flush=True);"
)


def run(code, **environment):
    """Run ``code`` in a process outside of this session; return what it printed."""
    others = {k: v for k, v in os.environ.items() if k != "SKTL_SESSION"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**others, **environment},
    )
    assert done.returncode in (0, -9), done.stderr
    return done.stdout.strip()


def test_it_is_private_and_found_by_children():
    folder = session_folder()
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert run(PRINT_FOLDER, SKTL_SESSION=os.environ["SKTL_SESSION"]) == folder
    assert Path(folder).exists()  # the child was not its owner


def test_it_ends_with_the_process_that_began_it(tmp_path):
    folder = Path(run(PRINT_FOLDER))
    assert not folder.exists()
    assert folder.parent == tmp_path


def test_folders_of_killed_runs_are_swept():
    left = Path(run(PRINT_FOLDER + "os.kill(os.getpid(), 9)"))
    assert left.exists()
    mine = Path(session_folder())
    _session_folder._folder_of.cache_clear()
    session_folder()
    assert not left.exists()
    assert mine.exists()


@pytest.mark.parametrize("lives", [True, False])
def test_a_folder_that_only_workers_used_goes_with_their_parent(lives):
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = Path(run(PRINT_FOLDER, SKTL_SESSION=f"{parent.pid}-token"))
    if not lives:
        parent.kill()
        parent.wait()
    session_folder()
    assert folder.exists() is lives
    parent.kill()
    parent.wait()


def test_workers_started_before_the_import_share_the_session_too():
    code = """
from joblib import Parallel, delayed

def folder(i):
    import os, time
    time.sleep(0.3)
    had = "SKTL_SESSION" in os.environ
    from sktl.store._session_folder import session_folder
    return had, session_folder()

Parallel(n_jobs=2)(delayed(abs)(i) for i in range(4))
import sktl
first = Parallel(n_jobs=2)(delayed(folder)(i) for i in range(4))
print(first[0][0], len({f for _, f in first} | {folder(0)[1]}))
"""
    assert run(code).split() == ["False", "1"]
