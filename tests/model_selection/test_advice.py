"""Comparison.advice: the verdict first, then what the differences allow to say."""

import numpy as np
import pytest

from sktl.model_selection import Comparison

NOISE = np.array([-0.01, 0.01, -0.005, 0.005, 0.0])


def comparison(*rows, scoring="accuracy", n_splits=5):
    """Return a comparison of (name, strategy, score, noise), the best first."""
    splits = [(np.arange(80), np.arange(80, 100))] * n_splits
    found = Comparison(
        splits_=splits,
        y_=np.arange(100) % 2,
        classes_=np.arange(2),
        tested_=np.ones(100, bool),
        duplicate_groups_=None,
        best_name_=rows[0][0],
        warnings_=[],
        scoring=scoring,
        task="classification",
        confidence=0.95,
    )
    for name, _, score, noise in rows:
        found.scores_[name] = (score + noise * NOISE)[:n_splits]
    for name, strategy, _, _ in rows:
        score = found.scores_[name].mean()
        known = n_splits > 1
        found.table.append(
            {
                "name": name,
                "strategy": strategy,
                "backbone": "net",
                "baseline": "untrained" if name == "untrained net" else None,
                "score": score,
                "low": score - 0.02 if known else np.nan,
                "high": score + 0.02 if known else np.nan,
                "difference": score - rows[0][2],
                "p_value": found.difference(rows[0][0], name).p_value,
                "fit_seconds": 30.0 if strategy == "fine-tuned" else 0.5,
                "predict_ms": 1.0,
                "embedded": 0,
                "model_kb": 1.0,
            }
        )
    return found


FROZEN = ("net + logistic", "frozen", 0.90, 1)
TUNED = ("net fine-tuned", "fine-tuned", 0.95, 0.5)
UNTRAINED = ("untrained net", "baseline", 0.60, 1)


def test_fine_tuning_is_recommended_where_it_is_better_for_sure():
    found = comparison(TUNED, FROZEN, UNTRAINED)
    assert found.advice() == [
        "Best: net fine-tuned, accuracy 0.950 (95% interval 0.930 to 0.970).",
        "It is 35.0 points above the best baseline, untrained net (0.600), more than "
        "chance would explain (34.3 to 35.7 points).",
        "Recommended: fine-tuning. net fine-tuned is 5.0 points better than net + "
        "logistic (4.3 to 5.7 points). A fit takes 30 s instead of 0.5 s.",
        "These images are close to what net knows: pretraining removes 75% of the "
        "errors it makes with random weights (0.600).",
    ]
    assert found.summary() == " ".join(found.advice())
    assert all(sentence in repr(found) for sentence in found.advice())


def test_frozen_features_are_recommended_where_the_difference_could_be_chance():
    text = comparison(("net fine-tuned", "fine-tuned", 0.902, -3), FROZEN).summary()
    assert (
        "It is not clearly better than net + logistic. The difference could be chance."
        in text
    )
    assert (
        "Recommended: frozen features. net fine-tuned scores 0.902 and net + logistic "
        "scores 0.900, a difference that could be chance. A fit takes 0.5 s "
        "instead of 30 s." in text
    )


def test_frozen_features_are_recommended_where_they_are_better_for_sure():
    text = comparison(FROZEN, ("net fine-tuned", "fine-tuned", 0.8, 2)).summary()
    assert "Recommended: frozen features. net + logistic is 10.0 points better" in text


def test_says_that_a_baseline_is_as_good():
    text = comparison(("colors", "baseline", 0.97, 1), FROZEN).summary()
    assert "Best: colors" in text
    assert "No pretrained network beats this baseline" in text
    assert "net + logistic, scores 0.900" in text
    close = comparison(FROZEN, ("colors", "baseline", 0.899, -3)).summary()
    assert "above the best baseline, colors (0.899), but the difference could" in close


def test_names_several_rivals_but_not_all():
    rows = [(f"net + {i}", "frozen", 0.9 - i / 1e4, i) for i in range(9)]
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
    untrained = ("untrained net", "baseline", 0.70, -1)
    found = comparison(("net + logistic", "frozen", score, 1), untrained)
    assert words in found.summary()


def test_one_split_or_an_open_score_allows_less():
    found = comparison(TUNED, FROZEN, n_splits=1)
    assert found.advice()[1:] == [
        "There is no confidence interval, so the differences could be chance."
    ]
    text = comparison(TUNED, FROZEN, UNTRAINED, scoring="neg_log_loss").summary()
    assert "is 0.05 better than" in text
    assert "points" not in text
    assert "knows" not in text


def test_a_single_candidate_is_a_verdict():
    assert len(comparison(FROZEN).advice()) == 1
