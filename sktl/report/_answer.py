"""The answer in words: can it be learned, by which strategy, what would help."""

from __future__ import annotations


def answer_of(comparison, labels: dict | None, test: dict | None) -> dict:
    """Return a verdict and the sentences behind it."""
    networks = [row for row in comparison.table if row["strategy"] != "baseline"]
    baselines = [row for row in comparison.table if row["strategy"] == "baseline"]
    best = networks[0] if networks else comparison.table[0]
    level = 1 - comparison.confidence
    sentences = []
    if test is not None:
        sentences.append(
            f"On the {test['n']} images of the test folder, which took no part in any "
            f"choice, it is at {test['accuracy']:.3f}."
        )
    verdict = f"{best['name']}: {comparison.scoring} {best['score']:.3f}"
    if best["low"] == best["low"]:
        verdict += f" ({best['low']:.3f} to {best['high']:.3f})"
    if networks and baselines:
        sentences.append(_against_baseline(comparison, best, baselines[0], level))
    if networks:
        sentences.append(_strategy(comparison, networks, level))
        sentences += _near_or_far(comparison, networks, baselines, level)
    if labels is not None:
        sentences.append(_more_labels(labels))
    return {"verdict": f"{verdict}.", "sentences": [s for s in sentences if s]}


def _against_baseline(comparison, best: dict, baseline: dict, level: float) -> str:
    """Say whether a network is worth it."""
    gain = comparison.difference(best["name"], baseline["name"])
    if gain.mean <= 0:
        return (
            f"No network beats the baseline {baseline['name']} "
            f"({baseline['score']:.3f}): take the baseline, or look for labels or "
            "images that tell more."
        )
    sure = gain.p_value < level
    return (
        f"That is {_points(gain.mean)} above the best baseline, {baseline['name']} "
        f"({baseline['score']:.3f})"
        + (
            f", more than chance explains ({_points(gain.low)} to "
            f"{_points(gain.high)}): the pretrained network sees what counts here."
            if sure
            else ", but these images do not tell it from chance: add images."
        )
    )


def _strategy(comparison, networks: list[dict], level: float) -> str:
    """Recommend a strategy, and say why."""
    frozen = next((row for row in networks if row["strategy"] == "frozen"), None)
    tuned = next((row for row in networks if row["strategy"] == "fine-tuned"), None)
    if frozen is None or tuned is None:
        only = "Fine-tuning" if frozen is None else "A frozen network"
        return f"{only} was the only strategy tried."
    gain = comparison.difference(tuned["name"], frozen["name"])
    times = tuned["fit_seconds"] / max(frozen["fit_seconds"], 1e-3)
    cost = f", at {times:.0f} times the time of a fit" if times >= 2 else ""
    if gain.p_value < level and gain.mean > 0:
        return (
            f"Recommended: fine-tuning. {tuned['name']} is {_points(gain.mean)} better "
            f"than {frozen['name']} ({_points(gain.low)} to {_points(gain.high)})"
            f"{cost}."
        )
    if gain.p_value < level:
        return (
            f"Recommended: frozen features. {frozen['name']} is {_points(-gain.mean)} "
            f"better than {tuned['name']} ({_points(-gain.high)} to "
            f"{_points(-gain.low)}), and cheaper."
        )
    return (
        f"Recommended: frozen features ({frozen['name']}). Fine-tuning differs by "
        f"{_points(gain.mean, sign=True)} ({_points(gain.low, sign=True)} to "
        f"{_points(gain.high, sign=True)}), which these images do not tell from "
        f"chance{cost}."
    )


def _near_or_far(comparison, networks, baselines, level: float) -> list[str]:
    """Say, by the evidence, how far what the network has learned before carries."""
    frozen = [row for row in networks if row["strategy"] == "frozen"]
    untrained = [row for row in baselines if row["name"].startswith("untrained ")]
    if not frozen or not untrained:
        return []
    before = untrained[0]
    backbone = before["backbone"].removeprefix("untrained ")
    same = [row for row in frozen if row["backbone"] == backbone]
    if not same:
        return []
    gain = comparison.difference(same[0]["name"], before["name"])
    share = gain.mean / max(1 - before["score"], 1e-9)
    if gain.p_value >= level or gain.mean <= 0:
        return [
            f"These images do not show that pretraining helps: {backbone} with random "
            f"weights is at {before['score']:.3f}. They may be far from those that it "
            "was trained on."
        ]
    near = [(0.75, "near to"), (0.4, "at some distance from"), (0.0, "far from")]
    how = next(words for least, words in near if share >= least)
    return [
        f"By the evidence these images are {how} those that {backbone} was trained on: "
        f"its pretraining removes {share:.0%} of the errors that it makes with random "
        f"weights ({before['score']:.3f})."
    ]


def _more_labels(labels: dict) -> str:
    """Say what more labels would bring."""
    gain, error = labels["gain"]["mean"], labels["gain"]["error"]
    half, whole = labels["rows"][-2:]
    step = (
        f"From {half['n']} to {whole['n']} labelled images the score went from "
        f"{half['mean']:.3f} to {whole['mean']:.3f}"
    )
    if gain + 2 * error < 0.01:
        return f"{step}: more labels of the same kind would bring little."
    if gain < 2 * error:
        return f"{step}, within chance: what more labels would bring is not to be seen."
    return (
        f"{step}: twice as many labels may bring up to {_points(gain)} more, usually "
        "about half of that."
    )


def _points(difference: float, sign: bool = False) -> str:
    """Return a difference of scores in points of a hundredth."""
    text = f"{100 * difference:+.1f}" if sign else f"{100 * difference:.1f}"
    return f"{text} points"
