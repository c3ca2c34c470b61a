"""As a new user would: photographs and satellite images, with ImageNet weights."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cats_vs_dogs", "eurosat"])
def test_compare_finds_that_pretraining_helps(run, real_data, tmp_path, name):
    weights = real_data / "weights" / "squeezenet1_0-imagenet.pth"
    answer = run(
        *("compare", real_data / name, "-b", "squeezenet1_0", "-b", "pocket"),
        *("--weights", f"squeezenet1_0={weights}", "--head", "logistic"),
        *("--no-finetune", "--per-class", "20", "--cv", "2"),
        *("--report", tmp_path / "report.html", "-o", tmp_path / "model.sktl"),
        "--json",
        json_output=True,
    )
    assert answer["best"].endswith("+ logistic")
    scores = {row["name"]: row["score"] for row in answer["table"]}
    assert scores["squeezenet1_0 + logistic"] > scores["pixels + svc"] + 0.1
    assert answer["test_score"] > 0.6
    answer = run(
        *("report", tmp_path / "model.sktl", real_data / name, "--json"),
        *("-o", tmp_path / "model.html"),
        json_output=True,
    )
    assert answer["accuracy"] > 0.6
