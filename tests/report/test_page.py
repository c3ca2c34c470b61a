"""What is in the page: the facts, and nothing that a name could smuggle in."""

import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sktl import PretrainedFeatures
from sktl.report import write_comparison_report, write_model_report
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


def test_page_names_every_candidate_and_class(read, comparison):
    words = " ".join(" ".join(read.words).split())
    for row in comparison.table:
        assert row["name"] in words
        assert f"{row['score']:.3f}" in words
    for text in (*comparison.advice(), "are copies", "Where it looks", "More labels"):
        assert text in words
    assert "Going from" in words
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
        write_comparison_report(target, comparison, stripe_folder[0], skipped=1)
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


class Known(ClassifierMixin, BaseEstimator):
    """A head that gives known probabilities to the rows of X."""

    def __init__(self, shares):
        self.shares = shares

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return self.shares

    def predict(self, X):
        return self.classes_[self.shares.argmax(axis=1)]


@pytest.fixture
def html_of(tmp_path):
    """Return a function that writes a page about known predictions."""

    def html_of(y, shares):
        X = np.random.default_rng(0).integers(0, 256, (len(y), 28, 28), dtype=np.uint8)
        model = make_pipeline(PretrainedFeatures("lenet5"), Known(shares)).fit(X, y)
        write_model_report(tmp_path / "page.html", model, X, y)
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return html_of


def cells(html, caption):
    """Return the text of the cells of each row of a table."""
    table = html[html.index(caption) :].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*)</tr>", table.partition("<tbody>")[2])
    return [re.findall(r">([^<>]+)</t[hd]>", row) for row in rows]


def test_results_count_confusions_and_rank_mistakes(html_of):
    y = np.array(["a", "a", "a", "b", "b", "c"])
    shares = np.full((6, 3), 0.1)
    shares[np.arange(6), [0, 1, 1, 1, 0, 2]] = [0.9, 0.5, 0.8, 0.7, 0.6, 0.9]
    html = html_of(y, shares)
    assert "3 of 6 right: accuracy 0.500" in html
    assert cells(html, "Images of each true class") == [
        ["a", "1", "2", "·"],
        ["b", "1", "1", "·"],
        ["c", "·", "·", "1"],
    ]
    mistakes = html[html.index('id="mistakes"') :].partition("</section>")[0]
    assert re.findall(r"row \d", mistakes) == ["row 2", "row 4", "row 1"]
    assert cells(html, "Most frequent confusions")[0] == ["a", "b", "2", "67%"]
    by_class = cells(html, "Recall (images found)")
    assert by_class[0] == ["a", "3", "33%", "50%"]
    assert by_class[1] == ["b", "2", "50%", "33%"]


def test_many_classes_have_no_matrix_but_their_confusions(html_of):
    y = np.arange(30).repeat(2)
    shares = np.eye(30)[y]
    shares[0] = np.eye(30)[7]
    html = html_of(y, shares)
    assert "Confusion matrix" not in html
    assert cells(html, "Most frequent confusions") == [["0", "7", "1", "50%"]]
