"""The installed program itself: exit codes, streams, signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.digit_files import save_digits

PROGRAM = Path(sys.executable).with_name("sktl")
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="sktl is not installed")


def sktl(*args, **more):
    """Run the program."""
    return subprocess.run(
        [PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300, **more
    )


def test_help_and_version_start_without_torch():
    code = "import sys, sktl.cli._app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
    done = sktl("--help")
    assert done.returncode == 0
    for command in (
        "demo",
        "compare",
        "train",
        "predict",
        "embed",
        "backbones",
        "cache",
    ):
        assert command in done.stdout
    assert sktl("--version").stdout.startswith("sktl ")


@pytest.mark.slow
def test_unknown_commands_and_options_are_usage_errors():
    for args in (["trian"], ["train", "--frobnicate"], ["embed"]):
        done = sktl(*args)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


@pytest.mark.slow
def test_from_folder_to_predictions(tmp_path):
    save_digits(tmp_path / "digits", 12)
    model, store = tmp_path / "m.sktl", tmp_path / "store"
    done = sktl(
        "train", tmp_path / "digits", "-o", model, "-b", "lenet5", "--cache", store,
        "--cv", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    assert done.stderr == ""  # no bars where nobody is looking
    done = sktl("predict", model, tmp_path / "digits" / "one", "--json")
    assert {record["predicted"] for record in json.loads(done.stdout)} == {"one"}
    done = sktl("cache", "info", store, "--json")
    assert json.loads(done.stdout)["rows"] == 24
    done = sktl("cache", "clear", store, "--json")
    assert json.loads(done.stdout)["dropped"] == 24
    done = sktl("cache", "prune", store)
    assert done.stdout.startswith("0 rows deleted, 0 left")


def test_failure_is_one_line_and_exit_code_1(tmp_path):
    done = sktl("embed", tmp_path, "-o", tmp_path / "x.npy", "-b", "lenet5")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"sktl: The folder {str(tmp_path)!r} holds no images.\n"


@pytest.mark.slow
def test_ctrl_c_is_exit_code_130_and_leaves_nothing(tmp_path):
    # A pipe for an image: reading it waits until somebody writes.
    os.mkfifo(tmp_path / "wait.png")
    command = [
        *(PROGRAM, "embed", tmp_path / "wait.png", "-b", "lenet5"),
        *("-o", tmp_path / "x.npy"),
    ]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SKTL_CACHE_DIR": str(tmp_path / "cache")},
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(tmp_path.glob(".*part*")):
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert sorted(set(os.listdir(tmp_path)) - {"cache"}) == ["wait.png"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write")
def test_no_permission_to_write_is_one_line(tmp_path):
    save_digits(tmp_path / "digits", 12)
    (tmp_path / "locked").mkdir(mode=0o500)
    done = sktl("train", tmp_path / "digits", "-o", tmp_path / "locked" / "m.sktl")
    assert done.returncode == 1
    assert "no permission" in done.stderr
    assert done.stderr.count("\n") == 1
