"""From a folder to an answer: what ``train`` and ``compare`` have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sktl._whole_file import check_writable
from sktl.cli._failures import CommandError, questions_of_data
from sktl.cli._images import Labelled, load_labelled
from sktl.cli._output import at_terminal

BASELINES = ("simplest", "pixels", "colors", "untrained")


@dataclass
class Asked:
    """What the user wants to know, and to keep."""

    folder: Path
    backbones: list[str]
    weights: dict | str | None
    heads: list[str] | None
    unfreeze: list[str]
    baselines: tuple[str, ...]
    fine_tuning: dict
    image_size: int | None
    folds: int
    cache: object
    device: str
    seed: int
    per_class: int | None = None
    skip_unreadable: bool = False
    repeats: int = 1
    duplicates: str = "warn"
    model: Path | None = None
    report: Path | None = None


@dataclass
class Answered:
    """What was found, and where it was written."""

    asked: Asked
    data: Labelled
    comparison: object
    seconds: float
    test_score: float | None = None
    written: dict[str, Path] = field(default_factory=dict)

    def title(self) -> str:
        """Return a heading for the table."""
        n_classes = len(np.unique(self.data.y))
        return (
            f"{len(self.data.y)} images of {n_classes} classes, "
            f"{len(self.comparison.splits_)} splits: "
            f"{self.comparison.scoring} with {self.comparison.confidence:.0%} intervals"
        )

    def as_dict(self) -> dict:
        """Return everything for programs."""
        names, counts = np.unique(self.data.y, return_counts=True)
        return {
            "folder": self.data.folder,
            "images": len(self.data.y),
            "classes": dict(zip(names.tolist(), counts.tolist(), strict=True)),
            "unreadable": self.data.unreadable,
            "scoring": self.comparison.scoring,
            "confidence": self.comparison.confidence,
            "best": self.comparison.best_name_,
            "test_images": 0 if self.data.test_y is None else len(self.data.test_y),
            "test_score": self.test_score,
            "table": self.comparison.table,
            "warnings": self.comparison.warnings_,
            "seconds": round(self.seconds, 1),
            "written": {what: str(path) for what, path in self.written.items()},
        }

    def in_words(self) -> str:
        """Return the answer in a few sentences."""
        best = self.comparison.table[0]
        text = (
            self.comparison.summary()
            if len(self.comparison.table) > 1
            else (
                f"{best['name']}: {self.comparison.scoring} {best['score']:.3f} in "
                f"cross-validation ({best['low']:.3f} to {best['high']:.3f})."
            )
        )
        if self.test_score is not None:
            text += (
                f" On the {len(self.data.test_y)} images of the test folder: "
                f"{self.test_score:.3f}."
            )
        for what, path in self.written.items():
            text += f" {what.capitalize()}: {path}."
        return f"{text} ({self.seconds:.0f} s)"


def ranking(comparison) -> list[dict]:
    """Return the table of a comparison for people; ms is one prediction."""
    return [
        {
            "model": row["name"],
            "strategy": row["strategy"],
            "score": f"{row['score']:.3f}",
            "interval": f"{row['low']:.3f} to {row['high']:.3f}",
            "fit s": cost(row["fit_seconds"]),
            "ms": cost(row["predict_ms"]),
        }
        for row in comparison.table
    ]


def cost(value: float) -> str:
    """Return a cost with the digits that matter."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def answer(asked: Asked) -> Answered:
    """Compare, keep the best, and write what was asked for."""
    from sktl.model_selection import compare

    started = time.perf_counter()
    for path in (asked.model, asked.report):
        if path is not None:
            check_writable(path)
    data = load_labelled(
        asked.folder,
        folds=asked.folds,
        per_class=asked.per_class,
        skip_unreadable=asked.skip_unreadable,
        seed=asked.seed,
    )
    with questions_of_data():
        comparison = compare(
            data.paths,
            data.y,
            backbones=asked.backbones,
            heads=asked.heads,
            unfreeze=[unfreeze_of(value) for value in asked.unfreeze],
            baselines=asked.baselines,
            weights=asked.weights,
            image_size=asked.image_size,
            fine_tuning=asked.fine_tuning,
            cv=asked.folds,
            n_repeats=asked.repeats,
            duplicates=asked.duplicates,
            cache=asked.cache,
            device=asked.device,
            random_state=asked.seed,
            verbose=at_terminal(),
        )
        answered = Answered(asked, data, comparison, 0.0)
        if data.test_y is not None:
            said = comparison.best_estimator_.predict(data.test_paths)
            answered.test_score = float(np.mean(said == data.test_y))
    if asked.model is not None:
        _save(answered)
    if asked.report is not None:
        _report(answered)
    answered.seconds = time.perf_counter() - started
    return answered


def unfreeze_of(text: str) -> str | int:
    """Return what ``unfreeze=`` of the estimators is to be."""
    return int(text) if text.isdecimal() else text


def fine_tuning_of(max_epochs: int | None) -> dict:
    """Return further parameters of fine-tuned contenders."""
    return {} if max_epochs is None else {"max_epochs": max_epochs}


def _save(answered: Answered) -> None:
    """Write the best model, with its score."""
    from sktl.persistence import save_model

    comparison, data = answered.comparison, answered.data
    best = comparison.table[0]
    if best["strategy"] == "baseline":
        raise CommandError(
            f"The baseline {best['name']!r} is as good as any network "
            f"({best['score']:.3f}), so there is no model worth saving. Try another "
            "backbone, or more images."
        )
    save_model(
        comparison.best_estimator_,
        answered.asked.model,
        metadata={
            "name": best["name"],
            "images": len(data.y),
            "scoring": comparison.scoring,
            "score": best["score"],
            "interval": [best["low"], best["high"]],
            "test_score": answered.test_score,
        },
    )
    answered.written["model"] = answered.asked.model


def _report(answered: Answered) -> None:
    """Write the page."""
    from sktl.report import write_comparison_report

    data = answered.data
    write_comparison_report(
        answered.asked.report,
        answered.comparison,
        data.paths,
        source=data.folder,
        test=None if data.test_y is None else (data.test_paths, data.test_y),
        skipped=data.skipped,
        unreadable=data.unreadable,
        code=_code(answered.asked),
    )
    answered.written["report"] = answered.asked.report


def _code(asked: Asked) -> str:
    """Return Python that asks the same question."""
    settings = {
        "backbones": asked.backbones,
        "heads": asked.heads,
        "unfreeze": [unfreeze_of(value) for value in asked.unfreeze],
        "baselines": asked.baselines,
        "weights": asked.weights,
        "image_size": asked.image_size,
        "fine_tuning": asked.fine_tuning or None,
        "cv": asked.folds,
        "n_repeats": asked.repeats,
        "duplicates": asked.duplicates,
        "random_state": asked.seed,
    }
    default = {
        **{
            "weights": "default",
            "image_size": None,
            "fine_tuning": None,
            "heads": None,
        },
        **{"baselines": BASELINES, "n_repeats": 1, "duplicates": "warn"},
    }
    lines = [
        f"    {name}={value!r},"
        for name, value in settings.items()
        if name not in default or value != default[name]
    ]
    return "\n".join(
        [
            "import numpy as np",
            "from sktl.datasets import load_image_folder",
            "from sktl.model_selection import compare",
            "",
            f"data = load_image_folder({str(asked.folder)!r})",
            *_subset(asked),
            "X, y = data.paths, np.array(data.target_names)[data.target]",
            "found = compare(",
            "    X,",
            "    y,",
            *lines,
            ")",
            "print(found)",
            "model = found.best_estimator_",
        ]
    )


def _subset(asked: Asked) -> Sequence[str]:
    """Return comments on what the command did to the images before."""
    told = []
    if asked.per_class is not None:
        told.append(
            f"# sktl drew {asked.per_class} images of each class (--per-class)."
        )
    if asked.skip_unreadable:
        told.append("# sktl left unreadable images out (--skip-unreadable).")
    return told
