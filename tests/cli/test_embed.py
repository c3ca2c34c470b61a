"""``sktl embed``: what the files hold, and what happens when something is wrong."""

import os

import numpy as np
import pytest
from PIL import Image

from sktl import PretrainedFeatures
from sktl.datasets import load_image_folder


@pytest.fixture
def expected(digit_folder):
    """Return the embeddings that the library computes."""
    data = load_image_folder(digit_folder)
    paths = sorted(data.paths)
    rows = PretrainedFeatures("lenet5").fit_transform(np.array(paths, dtype=object))
    return rows, paths, [os.path.basename(os.path.dirname(p)) for p in paths]


def test_npy_npz_and_parquet_hold_what_the_library_computes(
    run, digit_folder, expected, tmp_path
):
    rows, paths, labels = expected
    for suffix in ("npy", "npz", "parquet"):
        result = run(
            "embed", digit_folder, "-b", "lenet5", "-o", tmp_path / f"x.{suffix}"
        )
        assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), rows, rtol=1e-5, atol=1e-5)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        np.testing.assert_allclose(found["embeddings"], rows, rtol=1e-5, atol=1e-5)
        assert found["paths"].tolist() == paths
        assert found["labels"].tolist() == labels
        assert found["feature_names"][1] == "lenet5_01"
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.read_parquet(tmp_path / "x.parquet")
    assert frame["path"].tolist() == paths
    assert frame["label"].tolist() == labels
    np.testing.assert_allclose(frame.iloc[:, 2:], rows, rtol=1e-5, atol=1e-5)
    assert sorted(os.listdir(tmp_path)) == ["cache", "x.npy", "x.npz", "x.parquet"]


def test_blocks_make_the_same_file(run, digit_folder, expected, tmp_path, monkeypatch):
    from sktl.cli import _embed

    monkeypatch.setattr(_embed, "_BLOCK", 7)
    run("embed", digit_folder, "-b", "lenet5", "-o", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as found:
        np.testing.assert_allclose(
            found["embeddings"], expected[0], rtol=1e-5, atol=1e-5
        )
        assert found["labels"].tolist() == expected[2]


def test_second_run_computes_nothing(run, digit_folder, tmp_path):
    args = ("embed", digit_folder, "-b", "lenet5", "-o", tmp_path / "x.npy", "--json")
    assert run(*args, json_output=True)["embedded"] == 24
    assert run(*args, json_output=True)["embedded"] == 0
    assert run(*args, "--no-cache", json_output=True)["embedded"] == 24


def test_single_files_have_no_labels(run, digit_folder, tmp_path):
    files = sorted((digit_folder / "one").iterdir())[:2]
    summary = run(
        "embed", *files, "-b", "lenet5", "-o", tmp_path / "x.npz", "--json",
        json_output=True,
    )  # fmt: skip
    assert [summary[k] for k in ("images", "features", "labels")] == [2, 84, False]
    with np.load(tmp_path / "x.npz") as found:
        assert "labels" not in found


def test_broken_image_is_named_and_nothing_is_written(run, tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"no image")
    target = tmp_path / "x.npz"
    result = run("embed", tmp_path, "-b", "lenet5", "-o", target)
    assert result.exit_code == 1
    assert "1 of 3 images cannot be read" in result.stderr
    assert "bad.png" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not target.exists()
    assert not [name for name in os.listdir(tmp_path) if ".part" in name]

    result = run("embed", tmp_path, "-b", "lenet5", "-o", target, "--on-error", "nan")
    assert result.exit_code == 0
    with np.load(target) as found:
        bad = [path.endswith("bad.png") for path in found["paths"]]
        np.testing.assert_array_equal(np.isnan(found["embeddings"]).all(axis=1), bad)
    assert "rows are NaN" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "x.csv"), ".parquet, .npz, .npy"),
        (("-o", "nowhere/x.npy"), "does not exist"),
        (("-o", "."), "must end in"),
        (("-o", "x.npy", "-b", "lenet6"), "Did you mean 'lenet5'"),
        (("-o", "x.npy", "--layer", "stage9"), "stage9"),
        (("-o", "x.npy", "--pool", "median"), "pool"),
        (("-o", "x.npy", "--weights", "w.pth"), "w.pth"),
        (("-o", "x.npy", "--device", "abacus"), "abacus"),
    ],
)
def test_wrong_settings_are_errors_of_one_line(
    run, digit_folder, tmp_path, monkeypatch, options, words
):
    monkeypatch.chdir(tmp_path)
    if "-b" not in options:
        options = (*options, "-b", "lenet5")
    result = run("embed", digit_folder, *options)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert set(os.listdir(tmp_path)) <= {"cache"}


def test_names_that_look_like_markup_or_control_codes_are_text(run, tmp_path):
    name = "[bold]\x1b[31m[no].png"
    (tmp_path / name).write_bytes(b"no image")
    result = run("embed", tmp_path, "-b", "lenet5", "-o", tmp_path / "x.npy")
    assert result.exit_code == 1
    assert "[bold]" in result.stderr
    assert "[no]" in result.stderr
    assert "\x1b" not in result.stderr
