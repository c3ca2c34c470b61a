"""Comparison.advice: the verdict first, then what the differences allow to say."""

import numpy as np
import pytest

from sktl.model_selection import Comparison
from sktl.model_selection._intervals import Interval
from sktl.model_selection._more_labels import LabelCurve

N = 1000


def comparison(*rows, scoring="accuracy", n_splits=5):
    """Return a comparison of (name, strategy, score, noise), the best first.

    A better candidate gets the same images right and some more, but for ``noise``
    images that it loses and as many that it gains.
    """
    rng = np.random.default_rng(0)
    order, y = rng.permutation(N), np.arange(N) % 2
    tests = [np.arange(k, N, 5) for k in range(n_splits)]
    found = Comparison(
        splits_=[(np.setdiff1d(np.arange(N), test), test) for test in tests],
        y_=y,
        classes_=np.arange(2),
        tested_=np.isin(np.arange(N), np.concatenate(tests)),
        duplicate_groups_=None,
        best_name_=rows[0][0],
        warnings_=[],
        scoring=scoring,
        task="classification",
        confidence=0.95,
    )
    for name, _, score, noise in rows:
        right = np.zeros(N, bool)
        right[order[: round(score * N)]] = True
        for swapped in (True, False):
            of_these = np.flatnonzero(right[order] == swapped)
            right[order[rng.permutation(of_these)[:noise]]] = not swapped
        found.predictions_[name] = np.where(right, y, 1 - y)
        found.scores_[name] = np.array([right[test].mean() for test in tests])
    for name, strategy, _, _ in rows:
        score, difference = found.interval(name), found.difference(name, rows[0][0])
        found.table.append(
            {
                "name": name,
                "strategy": strategy,
                "backbone": "net",
                "head": name.rpartition(" + ")[2] if " + " in name else None,
                "baseline": "untrained" if name == "untrained net" else None,
                "score": score.mean,
                "low": score.low,
                "high": score.high,
                "difference": difference.mean,
                "p_value": difference.p_value,
                "fit_seconds": 30.0 if strategy == "fine-tuned" else 0.5,
                "predict_ms": 1.0,
                "embedded": 0,
                "model_kb": 1.0,
            }
        )
    return found


FROZEN = ("net + logistic", "frozen", 0.90, 0)
TUNED = ("net fine-tuned", "fine-tuned", 0.95, 0)
UNTRAINED = ("untrained net", "baseline", 0.59, 0)


def test_fine_tuning_is_recommended_where_it_is_better_for_sure():
    found = comparison(TUNED, FROZEN, UNTRAINED)
    assert found.advice() == [
        "Best: net fine-tuned, accuracy 0.950 (95% interval 0.931 to 0.964).",
        "It is 36.0 points above the best baseline, untrained net (0.590), more than "
        "chance would explain (32.3 to 39.6 points).",
        "Recommended: fine-tuning. net fine-tuned is 5.0 points better than net + "
        "logistic (3.3 to 6.7 points). A fit takes 30 s instead of 0.5 s.",
        "These images are close to what net knows: pretraining removes 76% of the "
        "errors it makes with random weights (0.590).",
    ]
    assert found.summary() == " ".join(found.advice())
    assert all(sentence in repr(found) for sentence in found.advice())


@pytest.mark.parametrize(
    ("best", "other", "words", "times"),
    [
        (TUNED, FROZEN, "fine-tuning", "30 s instead of 0.5 s"),
        (FROZEN, TUNED, "frozen features", "0.5 s instead of 30 s"),
    ],
)
def test_the_best_is_recommended_even_if_the_difference_could_be_chance(
    best, other, words, times
):
    text = comparison((*best[:2], 0.902, 20), (*other[:2], 0.9, 0)).summary()
    assert f"Best: {best[0]}" in text
    assert f"It is not clearly better than {other[0]}. The difference could" in text
    assert (
        f"Recommended: {words}. {other[0]} scores 0.900 and {best[0]} scores 0.902, a "
        f"difference that could be chance. A fit takes {times}." in text
    )


def test_frozen_features_are_recommended_where_they_are_better_for_sure():
    text = comparison(FROZEN, ("net fine-tuned", "fine-tuned", 0.8, 0)).summary()
    assert "Recommended: frozen features. net + logistic is 10.0 points better" in text


def test_says_that_a_baseline_is_as_good():
    text = comparison(("colors", "baseline", 0.97, 0), FROZEN).summary()
    assert "Best: colors" in text
    assert "No pretrained network beats this baseline" in text
    assert "net + logistic, scores 0.900" in text
    close = comparison(FROZEN, ("colors", "baseline", 0.899, 20)).summary()
    assert "above the best baseline, colors (0.899), but the difference could" in close


def test_names_several_rivals_but_not_all():
    rows = [(f"net + {i}", "frozen", 0.9, 2 * i) for i in range(9)]
    text = comparison(*rows[:4]).summary()
    assert "than net + 1, net + 2 or net + 3. The differences could be" in text
    assert "net + 5 or 3 others. The differences" in comparison(*rows).summary()


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (0.75, "far from what net knows"),
        (0.85, "somewhat different from what net knows"),
        (0.95, "close to what net knows"),
        (0.701, "Pretraining makes no clear difference"),
    ],
)
def test_says_how_close_the_images_are_to_what_the_network_knows(score, words):
    untrained = ("untrained net", "baseline", 0.70, 20)
    found = comparison(("net + logistic", "frozen", score, 0), untrained)
    assert words in found.summary()


def test_pretraining_is_judged_with_the_same_head():
    found = comparison(
        ("net + svc", "frozen", 0.99, 0),
        ("net + logistic", "frozen", 0.90, 0),
        ("untrained net", "baseline", 0.50, 0),
    )
    found.table[2]["head"] = "logistic"
    assert "pretraining removes 80% of the errors" in found.summary()


def test_an_unknown_interval_has_no_bar():
    pytest.importorskip("matplotlib")
    found = comparison(TUNED, FROZEN, scoring="neg_log_loss", n_splits=1)
    ax = found.plot()
    bars = [bar for marks in ax.containers for bar in marks[2]]
    assert [len(bar.get_segments()[0]) for bar in bars] == [0, 0]


def test_one_split_or_an_open_score_allows_less():
    found = comparison(TUNED, FROZEN, scoring="neg_log_loss", n_splits=1)
    assert found.advice()[1:] == [
        "There is no confidence interval, so the differences could be chance."
    ]
    text = comparison(TUNED, FROZEN, UNTRAINED, scoring="neg_log_loss").summary()
    assert "is 0.05 better than" in text
    assert "points" not in text
    assert "knows" not in text


def test_one_split_still_counts_images():
    text = comparison(TUNED, FROZEN, UNTRAINED, n_splits=1).summary()
    assert "Recommended: fine-tuning" in text
    assert "knows: pretraining removes" in text


def test_a_single_candidate_is_a_verdict():
    assert len(comparison(FROZEN).advice()) == 1


@pytest.mark.parametrize(
    ("low", "mean", "high", "words"),
    [
        (0.01, 0.03, 0.05, "twice as many labels may bring up to 3.0 points more."),
        (-0.01, 0.0, 0.009, "more labels of the same kind would bring little."),
        (-0.02, 0.01, 0.04, "(-2.0 to 4.0 points): more labels may or may not help."),
    ],
)
def test_says_whether_more_labels_would_help(low, mean, high, words):
    found = comparison(FROZEN)
    found.label_curve_ = LabelCurve(
        "net + logistic",
        [400, 800],
        np.array([[0.9 - mean] * 5, [0.9] * 5]),
        Interval(mean, low, high, 0.5),
        "accuracy",
    )
    assert found.advice()[-1] == (
        f"Going from 400 to 800 labelled images took net + logistic from "
        f"{0.9 - mean:.3f} to 0.900"
        f"{', which could be chance' if 'may not' in words else ':'} {words}"
    )
    assert words in repr(found)
    assert words in found._repr_html_()
    found.label_curve_.scores[:] += 0.095
    assert "bring little" in found.summary()
