"""What all displays have in common."""

import builtins
import sys

import matplotlib as mpl
import numpy as np
import pytest

from sktl.exceptions import MissingExtraError
from sktl.inspection import (
    ActivationMapDisplay,
    EmbeddingMapDisplay,
    ImageConfusionDisplay,
    LabelCurveDisplay,
    MistakesDisplay,
    TrainingHistoryDisplay,
    ViewsDisplay,
)

N_CLASSES = 12
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (60, 16, 20, 3), dtype=np.uint8)
Y = np.arange(60) % N_CLASSES
SAID = np.where(RNG.random(60) < 0.6, Y, RNG.integers(0, N_CLASSES, 60))
# A name that would be a formula, and names that are too long for any place.
NAMES = [f"$x$ is a class with a very long name, number {i}" for i in range(N_CLASSES)]


def draw_confusion(ax=None):
    return ImageConfusionDisplay.from_predictions(
        X, Y, SAID, display_labels=NAMES, ax=ax
    )


def draw_mistakes(ax=None):
    return MistakesDisplay.from_predictions(X, Y, SAID, display_labels=NAMES, ax=ax)


def draw_map(ax=None):
    embeddings = np.random.default_rng(1).normal(size=(60, 5))
    return EmbeddingMapDisplay.from_embeddings(
        embeddings, Y, images=X, display_labels=NAMES, ax=ax
    )


def draw_history(ax=None):
    history = [
        {
            "epoch": i,
            "train_loss": 1 / i,
            "valid_loss": 2 / i,
            "valid_acc": i / 9,
            "lr": 0.1,
        }
        for i in range(1, 8)
    ]
    return TrainingHistoryDisplay.from_history(history, best_epoch=3, ax=ax)


def draw_label_curve(ax=None):
    scores = {name: RNG.random((4, 3)) for name in NAMES[:3]}
    return LabelCurveDisplay(np.array([1, 2, 5, 10]), scores, n_classes=4).plot(ax=ax)


def draw_activation_map(ax=None):
    return ActivationMapDisplay(
        RNG.normal(size=(5, 3, 4)),
        intercepts=np.zeros(5),
        targets=NAMES[:5],
        predicted=NAMES[1:6],
        pictures=list(X[:5]),
    ).plot(ax=ax)


def draw_views(ax=None):
    return ViewsDisplay([list(X[:5])] * 3, names=NAMES[:3]).plot(ax=ax)


DRAW = [
    draw_confusion,
    draw_mistakes,
    draw_map,
    draw_history,
    draw_label_curve,
    draw_activation_map,
    draw_views,
]


@pytest.mark.parametrize("draw", DRAW)
def test_no_text_overlaps_or_leaves_the_figure(draw, crowded_texts):
    assert crowded_texts(draw().figure_) == []


@pytest.mark.parametrize("draw", DRAW)
def test_axes_of_the_user_are_used_and_nothing_else(draw):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(14, 7), layout="constrained")
    (line,) = axes[1].plot([1, 2])
    display = draw(ax=axes[0])
    figure.canvas.draw()
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    assert axes[1].lines[0] is line
    assert len(axes[1].texts) == 0
    box = axes[0].get_tightbbox()
    assert box.x1 <= axes[1].get_window_extent().x0
    bounding = getattr(display, "bounding_ax_", display.ax_)
    assert bounding is axes[0]


@pytest.mark.parametrize("draw", DRAW)
def test_settings_of_matplotlib_stay_and_nothing_is_shown(draw, monkeypatch):
    import matplotlib.pyplot as plt

    def show(*args, **kwargs):
        raise AssertionError("plt.show was called")

    monkeypatch.setattr(plt, "show", show)
    before = dict(mpl.rcParams)
    draw()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("draw", DRAW)
def test_without_matplotlib_the_extra_is_named(draw, monkeypatch):
    real_import = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(f"No module named {name!r}")
        return real_import(name, *args, **kwargs)

    for name in list(sys.modules):
        if name.split(".")[0] == "matplotlib":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(MissingExtraError, match=r"sktl\[viz\]"):
        draw()


def test_importing_the_displays_loads_neither_matplotlib_nor_torch():
    import subprocess

    code = (
        "import sys, sktl.inspection;"
        "print([m for m in ('matplotlib', 'torch', 'skorch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("draw", DRAW)
def test_axes_too_small_to_read_are_refused_and_small_ones_are_used(draw):
    import matplotlib.pyplot as plt

    ax = plt.figure(figsize=(2, 2)).add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="too small to be read"):
        draw(ax=ax)
    assert ax.axison
    ax = plt.figure(figsize=(3, 3)).add_axes((0, 0, 1, 1))
    draw(ax=ax).figure_.canvas.draw()


def test_parts_of_a_figure_will_do():
    import matplotlib.pyplot as plt

    parts = plt.figure(figsize=(12, 6), layout="constrained").subfigures(1, 2)
    for draw in (draw_confusion, draw_mistakes):
        display = draw(ax=parts[1].subplots())
        assert display.figure_ is parts[1]
        parts[1].clear()


@pytest.mark.parametrize("draw", DRAW)
def test_dollar_signs_in_names_are_no_formulas(draw):
    from matplotlib.text import Text

    texts = [text for text in draw().figure_.findobj(Text) if "$" in text.get_text()]
    assert texts or draw is draw_history  # which writes no names
    assert not any(text.get_parse_math() for text in texts)
