"""What is in the page: the facts, and nothing that a name could smuggle in."""

import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sktl import PretrainedFeatures
from sktl.report import write_comparison_report, write_model_report
from sktl.report._answer import answer_of
from sktl.report._labels import label_facts
from sktl.report._results import results_facts
from tests.report.conftest import EVIL


class Reader(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def read(page):
    return Reader(page.read_text(encoding="utf-8"))


def test_page_loads_nothing_from_elsewhere(read):
    allowed = re.compile(r"data:|#")
    for _, attrs in read.elements:
        for name in ("src", "href", "action", "poster", "srcset", "data"):
            assert allowed.match(attrs.get(name, "#"))
        assert not any(name.startswith("on") for name in attrs)
        assert "style" not in attrs  # the page's own policy would refuse it
    (policy,) = [
        attrs["content"]
        for attrs in read.all("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_names_are_text_and_never_markup(read):
    assert len(read.all("script")) == 1
    assert all(attrs["src"].startswith("data:image/") for attrs in read.all("img"))
    words = " ".join(read.words)
    assert EVIL in words
    assert '"><script>alert(2)<b>.png' in words
    assert "notes <1>.txt" in words
    assert "broken <2>.jpg" in words
    assert "print('<hello>')" in words
    assert "stripes & <noise>" in words


def test_page_names_every_contender_and_class(read, comparison):
    words = " ".join(" ".join(read.words).split())
    for row in comparison.table:
        assert row["name"] in words
        assert f"{row['score']:.3f}" in words
    for text in ("Recommended:", "are copies", "Where it looks", "More labels"):
        assert text in words
    assert "On the 6 images of the test folder" in words


def test_every_picture_says_what_it_shows(read):
    assert len(read.all("img")) > 20
    assert all(attrs.get("alt") for attrs in read.all("img"))
    for attrs in read.all("svg"):
        assert attrs.get("aria-hidden") == "true" or attrs.get("aria-labelledby")


def test_page_is_written_whole_or_not_at_all(comparison, stripe_folder, tmp_path):
    target = tmp_path / "report.html"
    target.write_text("former")
    with pytest.raises(TypeError):
        write_comparison_report(target, comparison, stripe_folder[0], code=1, skipped=0)
    assert target.read_text() == "former"
    assert os.listdir(tmp_path) == ["report.html"]


def test_regressions_are_refused(tmp_path):
    from types import SimpleNamespace

    with pytest.raises(ValueError, match="about classes"):
        write_comparison_report(
            tmp_path / "x.html", SimpleNamespace(task="regression"), []
        )


@pytest.mark.parametrize(
    "head", [LogisticRegression(max_iter=1000), KNeighborsClassifier()]
)
def test_model_report_scores_and_explains_as_far_as_possible(
    stripe_folder, head, tmp_path
):
    paths, y = stripe_folder
    model = make_pipeline(PretrainedFeatures("pocket"), head).fit(paths, y)
    path = tmp_path / "report.html"
    assert write_model_report(path, model, paths, y) == model.score(paths, y)
    words = " ".join(Reader(path.read_text()).words)
    linear = isinstance(head, LogisticRegression)
    assert ("There are no activation maps" in words) == (not linear)


class Row:
    """Stands for the pictures."""

    def __getitem__(self, row):
        return {"row": int(row)}


def test_results_count_confusions_and_rank_mistakes():
    y = np.array(["a", "a", "a", "b", "b", "c"])
    said = np.array(["a", "b", "b", "b", "a", "c"])
    shares = np.full((6, 3), 0.1)
    shares[np.arange(6), [0, 1, 1, 1, 0, 2]] = [0.9, 0.5, 0.8, 0.7, 0.6, 0.9]
    found = results_facts(Row(), y, said, shares, np.array(["a", "b", "c"]))
    assert found["n_wrong"] == 3
    assert [[cell["n"] for cell in row] for row in found["matrix"]] == [
        [1, 2, 0],
        [1, 1, 0],
        [0, 0, 1],
    ]
    assert [mistake["picture"]["row"] for mistake in found["mistakes"]] == [2, 4, 1]
    assert found["pairs"][0] == {"true": "a", "said": "b", "n": 2, "share": 2 / 3}
    assert found["classes"][0]["recall"] == pytest.approx(1 / 3)
    assert found["classes"][1]["precision"] == pytest.approx(1 / 3)


def test_many_classes_have_no_matrix_but_their_confusions():
    y = np.arange(30).repeat(2)
    said = y.copy()
    said[0] = 7
    found = results_facts(Row(), y, said, None, np.arange(30))
    assert found["matrix"] is None
    assert found["pairs"] == [{"true": "0", "said": "7", "n": 1, "share": 0.5}]
    assert not found["ranked"]


def test_more_labels_help_as_long_as_the_score_rises():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    hard = rng.normal(size=(400, 60)) + 0.25 * y[:, None]
    easy = rng.normal(size=(400, 3)) + 20 * y[:, None]
    head = LogisticRegression()
    found, sure = label_facts(head, hard, y), label_facts(head, easy, y)
    assert [row["n"] for row in found["rows"]] == [40, 80, 160, 320]
    assert found["gain"]["mean"] > 0.01
    assert sure["gain"]["mean"] == 0
    assert label_facts(head, hard[:6], y[:6]) is None
    table = Found([row("net + logistic", "frozen", 0.9)])
    words = {
        "may bring up to 3.0 points": {"mean": 0.03, "error": 0.004},
        "bring little": {"mean": 0.001, "error": 0.001},
        "within chance": {"mean": 0.01, "error": 0.01},
    }
    for text, gain in words.items():
        said = answer_of(table, {**found, "gain": gain}, None)["sentences"]
        assert text in said[-1]


class Found:
    """A comparison with given differences."""

    scoring, confidence = "accuracy", 0.95

    def __init__(self, table, **p_values):
        self.table = table
        self.p_values = p_values

    def difference(self, first, second):
        from types import SimpleNamespace

        scores = {row["name"]: row["score"] for row in self.table}
        mean = scores[first] - scores[second]
        p_value = self.p_values.get(second.split()[0], 0.001)
        return SimpleNamespace(
            mean=mean, low=mean - 0.01, high=mean + 0.01, p_value=p_value
        )


def row(name, strategy, score, fit_seconds=1.0):
    return {
        "name": name,
        "strategy": strategy,
        "score": score,
        "low": score - 0.02,
        "high": score + 0.02,
        "fit_seconds": fit_seconds,
        "backbone": name.split(" +")[0],
    }


def test_answer_recommends_by_the_evidence():
    frozen = row("net + logistic", "frozen", 0.90)
    tuned = row("net fine-tuned", "fine-tuned", 0.95, 30.0)
    untrained = row("untrained net + logistic", "baseline", 0.60)
    text = " ".join(
        answer_of(Found([tuned, frozen, untrained]), None, None)["sentences"]
    )
    assert "Recommended: fine-tuning" in text
    assert "30 times" in text
    assert "near to" in text
    assert "35.0 points above the best baseline" in text

    equal = Found([tuned, frozen, untrained], net=0.4)
    text = " ".join(answer_of(equal, None, None)["sentences"])
    assert "Recommended: frozen features" in text
    assert "do not tell from chance" in text

    low = [row("colors", "baseline", 0.97), frozen, untrained]
    text = " ".join(answer_of(Found(low), None, None)["sentences"])
    assert "No network beats the baseline colors" in text

    for score, words in (
        (0.75, "far from"),
        (0.85, "some distance"),
        (0.95, "near to"),
    ):
        table = [row("net + logistic", "frozen", score), {**untrained, "score": 0.7}]
        text = " ".join(answer_of(Found(table), None, None)["sentences"])
        assert words in text

    unsure = Found([frozen, untrained], untrained=0.3)
    text = " ".join(answer_of(unsure, None, None)["sentences"])
    assert "do not show that pretraining helps" in text
