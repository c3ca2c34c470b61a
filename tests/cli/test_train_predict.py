"""``sktl train`` and ``sktl predict``: a model to keep, and what it says."""

import csv
import html
import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from sktl import PretrainedFeatures
from sktl.persistence import describe_model, load_model
from tests.cli.digit_files import save_digits


@pytest.fixture(scope="module")
def model(digit_folder, tmp_path_factory):
    """Return the path of a model of two digits; leave it as it is."""
    from typer.testing import CliRunner

    from sktl.cli._app import app

    path = tmp_path_factory.mktemp("model") / "digits.sktl"
    args = ["train", str(digit_folder), "-o", str(path), "-b", "lenet5", "--no-cache"]
    assert CliRunner().invoke(app, args).exit_code == 0
    return path


def test_trained_model_knows_class_names_and_its_score(model, digit_folder):
    found = describe_model(model)
    assert found["classes"] == ["one", "zero"]
    assert found["metadata"]["score"] > 0.8
    paths = np.array([str(p) for p in (digit_folder / "one").iterdir()], dtype=object)
    assert (load_model(model).predict(paths) == "one").mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["finetune", "auto"])
def test_other_strategies_train_too(run, digit_folder, tmp_path, strategy):
    answer = run(
        "train", digit_folder, "-o", tmp_path / "m.sktl", "-b", "lenet5", "--cv", "2",
        "--strategy", strategy, "--max-epochs", "1", "--json", json_output=True,
    )  # fmt: skip
    assert answer["written"] == {"model": str(tmp_path / "m.sktl")}
    assert answer["classes"] == {"one": 12, "zero": 12}
    assert len(answer["table"]) == (1 if strategy == "finetune" else 2)
    kind = describe_model(tmp_path / "m.sktl")["estimator"]
    assert ("FineTunedClassifier" in kind) == ("fine-tuned" in answer["best"])


def test_test_folder_is_held_out(run, tmp_path):
    save_digits(tmp_path / "train", 12)
    save_digits(tmp_path / "test", 3)
    answer = run(
        "train", tmp_path, "-o", tmp_path / "m.sktl", "-b", "lenet5", "--json",
        json_output=True,
    )  # fmt: skip
    assert (answer["images"], answer["test_images"]) == (24, 6)
    assert answer["test_score"] > 0.8


def test_predictions_as_table_csv_and_json(run, model, digit_folder):
    images = sorted((digit_folder / "zero").iterdir())[:3]
    records = run("predict", model, *images, "--json", json_output=True)
    assert [record["path"] for record in records] == [str(path) for path in images]
    assert {record["predicted"] for record in records} == {"zero"}
    assert records[0]["probabilities"]["zero"] == records[0]["probability"] > 0.5
    rows = list(
        csv.DictReader(io.StringIO(run("predict", model, *images, "--csv").stdout))
    )
    assert [row["path"] for row in rows] == [str(path) for path in images]
    assert float(rows[0]["p(zero)"]) == pytest.approx(records[0]["probability"])
    result = run("predict", model, *images)
    assert result.exit_code == 0
    assert result.stdout.count("zero") >= 3
    assert result.stderr == ""


def test_unreadable_image_fails_and_the_others_are_predicted(run, model, tmp_path):
    save_digits(tmp_path, 2)
    (tmp_path / "zero" / "broken.png").write_bytes(b"no image")
    result = run("predict", model, tmp_path, "--csv")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1 + 4
    assert "1 of 5 images cannot be read" in result.stderr
    assert "broken.png" in result.stderr


def test_predict_refuses_what_is_not_a_model(run, digit_folder, tmp_path):
    image = digit_folder / "one" / "00.png"
    for path, words in (
        (image, "not a model file"),
        (tmp_path / "m.sktl", "No such file"),
    ):
        result = run("predict", path, image)
        assert result.exit_code == 1
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_predict_refuses_missing_images(run, model, tmp_path):
    result = run("predict", model, tmp_path / "nothing.png")
    assert result.exit_code == 1
    assert "nothing.png" in result.stderr
    result = run("predict", model, tmp_path)
    assert result.exit_code == 1
    assert "holds no images" in result.stderr


def one_class(folder):
    save_digits(folder, 25, classes=("zero",))
    return "only one class ('zero')"


def ten_images(folder):
    save_digits(folder, 5)
    return "10 images in all"


def small_class(folder):
    save_digits(folder, 20)
    for path in sorted((folder / "one").iterdir())[2:]:
        path.unlink()
    return "'one' has 2 images"


def broken_image(folder):
    save_digits(folder, 12)
    (folder / "one" / "broken.jpg").write_bytes(b"no image")
    return "broken.jpg"


def no_folders(folder):
    Image.new("L", (8, 8)).save(folder / "a.png")
    return "no class folders"


def nothing(folder):
    shutil.rmtree(folder)
    return "does not exist"


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize(
    "spoil",
    [one_class, ten_images, small_class, broken_image, no_folders, nothing],
)
def test_unusable_folders_are_errors_of_one_line(run, tmp_path, spoil, command):
    folder = tmp_path / "data"
    folder.mkdir()
    words = spoil(folder)
    target = tmp_path / "m.sktl"
    result = run(command, folder, "-o", target, "-b", "lenet5")
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert set(os.listdir(tmp_path)) <= {"data", "cache"}


def test_broken_images_can_be_left_out(run, tmp_path):
    broken_image(tmp_path / "data")
    answer = run(
        "train", tmp_path / "data", "-o", tmp_path / "m.sktl", "-b", "lenet5",
        "--skip-unreadable", "--json", json_output=True,
    )  # fmt: skip
    assert answer["images"] == 24
    assert [os.path.basename(path) for path in answer["unreadable"]] == ["broken.jpg"]


@pytest.mark.parametrize("target", ["nowhere/m.sktl", "folder"])
def test_unwritable_output_fails_before_any_work(
    run, digit_folder, tmp_path, monkeypatch, target
):
    import sktl.model_selection

    def too_late(*args, **kwargs):
        raise AssertionError("work began")

    monkeypatch.setattr(sktl.model_selection, "compare", too_late)
    (tmp_path / "folder").mkdir()
    result = run("train", digit_folder, "-o", tmp_path / target, "-b", "lenet5")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_no_permission_to_write_is_one_line(run, digit_folder, tmp_path, monkeypatch):
    from pathlib import Path

    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", forbidden)
    result = run("train", digit_folder, "-o", tmp_path / "m.sktl", "-b", "lenet5")
    assert result.exit_code == 1
    assert "no permission to write to" in result.stderr
    assert result.stderr.count("\n") == 1


def test_interrupted_training_leaves_the_former_model(
    run, digit_folder, model, tmp_path, monkeypatch
):
    import sktl.model_selection

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    target = tmp_path / "m.sktl"
    target.write_bytes(model.read_bytes())
    monkeypatch.setattr(sktl.model_selection, "compare", interrupted)
    result = run("train", digit_folder, "-o", target, "-b", "lenet5")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert target.read_bytes() == model.read_bytes()


@pytest.mark.slow
def test_compare_ranks_baselines_and_both_strategies(run, digit_folder, tmp_path):
    answer = run(
        "compare", digit_folder, "-b", "lenet5", "--head", "logistic", "--cv", "2",
        "--max-epochs", "1", "--json", json_output=True,
    )  # fmt: skip
    assert {row["strategy"] for row in answer["table"]} == {
        "baseline", "frozen", "fine-tuned",
    }  # fmt: skip
    assert answer["best"] == answer["table"][0]["name"]
    scores = [row["score"] for row in answer["table"]]
    assert scores == sorted(scores, reverse=True)


def test_compare_in_words(run, digit_folder):
    result = run("compare", digit_folder, "-b", "lenet5", "--cv", "2", "--no-finetune")
    assert result.exit_code == 0
    assert "most frequent class" in " ".join(result.stdout.split())
    assert "accuracy" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Done in ")
    assert max(map(len, result.stdout.splitlines()[:12])) <= 80


@pytest.mark.parametrize("size", [(), ("--image-size", "40")])
def test_terminal_gives_all_the_advice(run, digit_folder, size):
    args = ("compare", digit_folder, "-b", "lenet5", "--cv", "2", "--max-epochs", "1")
    said = " ".join(run(*args, *size).stdout.split())
    answer = run(*args, *size, "--json", json_output=True)
    for words in ("Best: ", "with random weights", "Going from 6 to 12 labelled"):
        assert words in said
        assert words in " ".join(answer["advice"])
    if "No pretrained network" not in said:
        assert "Recommended: " in said


def test_compare_ranks_the_default_backbone_beside_pocket(
    run, digit_folder, monkeypatch
):
    import sktl.model_selection

    asked = []

    def remember(X, y, **settings):
        asked.append(settings["backbones"])
        raise ValueError("enough")

    monkeypatch.setattr(sktl.model_selection, "compare", remember)
    run("compare", digit_folder)
    run("compare", digit_folder, "-b", "lenet5")
    assert asked == [[PretrainedFeatures().backbone, "pocket"], ["lenet5"]]


def test_weights_of_several_networks_need_names(run, digit_folder):
    args = (
        "compare",
        digit_folder,
        "-b",
        "lenet5",
        "-b",
        "zfnet",
        "--weights",
        "w.pth",
    )
    result = run(*args)
    assert result.exit_code == 1
    assert "NAME=w.pth" in result.stderr


def test_report_on_a_saved_model(run, model, digit_folder, tmp_path):
    target = tmp_path / "page.html"
    answer = run(
        "report", model, digit_folder, "-o", target, "--json", json_output=True
    )
    assert (answer["images"], answer["written"]) == (24, {"report": str(target)})
    assert f"accuracy {answer['accuracy']:.3f}" in target.read_text(encoding="utf-8")
    result = run("report", model, tmp_path / "nowhere", "-o", target)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_compare_and_train_write_the_page_and_the_model(run, digit_folder, tmp_path):
    page, model = tmp_path / "page.html", tmp_path / "m.sktl"
    answer = run(
        "train", digit_folder, "-b", "lenet5", "--cv", "2", "--report", page, "-o",
        model, "--json", json_output=True,
    )  # fmt: skip
    assert answer["written"] == {"model": str(model), "report": str(page)}
    text = page.read_text(encoding="utf-8")
    assert "lenet5 + logistic" in text
    assert "load_image_folder" in text


def test_page_and_saved_model_name_the_same_winner(run, digit_folder, tmp_path):
    page, model = tmp_path / "page.html", tmp_path / "m.sktl"
    answer = run(
        "train", digit_folder, "-b", "lenet5", "--cv", "2", "--strategy", "auto",
        "--max-epochs", "1", "--report", page, "-o", model, "--json", json_output=True,
    )  # fmt: skip
    best, found = answer["best"], describe_model(model)
    assert found["metadata"]["name"] == best == answer["table"][0]["name"]
    is_tuned = "FineTunedClassifier" in found["estimator"]
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert f"Best: {best}, " in text
    assert f"Predictions of {best} for" in text
    assert f"Recommended: {'fine-tuning' if is_tuned else 'frozen features'}." in text


def test_code_in_the_page_runs(run, digit_folder, tmp_path):
    page = tmp_path / "page.html"
    answer = run(
        "compare", digit_folder, "-b", "lenet5", "--head", "logistic", "--cv", "2",
        "--no-finetune", "--report", page, "--json", json_output=True,
    )  # fmt: skip
    text = html.unescape(page.read_text(encoding="utf-8"))
    code = text[text.index("import numpy as np") :]
    code = code[: code.index("best_estimator_") + len("best_estimator_")]
    names = {}
    exec(compile(code, "report", "exec"), names)
    assert names["found"].best_name_ == answer["best"]
    assert set(names["model"].predict(names["X"])) == {"zero", "one"}


def test_baseline_that_wins_is_shown_but_not_saved(run, tmp_path):
    for name, color in (("red", (76, 0, 0)), ("green", (0, 39, 0))):  # of equal grey
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(12):
            size = (8 + i, 8 + i)
            Image.new("RGB", size, color).save(tmp_path / "data" / name / f"{i}.png")
    model, page = tmp_path / "m.sktl", tmp_path / "page.html"
    result = run(
        "compare", tmp_path / "data", "-b", "lenet5", "--head", "knn", "--cv", "2",
        "--no-finetune", "-o", model, "--report", page,
    )  # fmt: skip
    assert result.exit_code == 1
    assert "colors" in result.stdout
    assert "No model was saved" in result.stderr
    assert "Predictions of pixels + svc for 24 images" in page.read_text(
        encoding="utf-8"
    )
    assert not model.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "first", "named"),
    [
        ("digits", "from sklearn.datasets import load_digits", "handwritten digits"),
        ("shapes", "from sktl.datasets import make_shapes", "drawn on photographs"),
    ],
)
def test_demo_compares_and_writes_the_page(task, first, named, run, tmp_path):
    page = tmp_path / "demo.html"
    answer = run(
        "demo", task, "--n-images", "100", "--report", page, "--json",
        json_output=True,
    )  # fmt: skip
    assert answer["images"] == 100
    assert {row["strategy"] for row in answer["table"]} == {
        "baseline",
        "frozen",
        "fine-tuned",
    }
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert named in text
    loader = text[text.index(first) : text.index("from sktl.model_selection")]
    names = {}
    exec(compile(loader, "report", "exec"), names)
    assert len(names["X"]) == len(names["y"]) == 100
