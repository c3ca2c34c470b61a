"""Words that fit their place, and colours that all readers can tell apart."""

from itertools import combinations

import numpy as np
import pytest

from sktl.inspection._classes import COLOURS, colour_of, mark_of, names_of
from sktl.inspection._panel import fitted, widest

# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
SEEN_BY = {
    "normal": np.eye(3),
    "protanope": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranope": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(colour, seen_by):
    """Return CIELAB coordinates of a colour as a person sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ (SEEN_BY[seen_by] @ linear).clip(0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_colours_differ_for_everybody(seen_by):
    distances = [
        np.linalg.norm(lab(a, seen_by) - lab(b, seen_by))
        for a, b in combinations([*COLOURS, "#ffffff"], 2)
    ]
    assert min(distances) > 10


def test_pairs_of_colour_and_mark_do_not_repeat():
    assert len({(colour_of(i), mark_of(i)) for i in range(48)}) == 48


@pytest.mark.parametrize("width", [0.3, 0.8, 2.0])
def test_words_fit_and_keep_both_ends(width):
    words = fitted("Siamese cat with a long name (indoors)", width, 9)
    assert widest([words], 9) <= width
    if width > 0.5:
        assert words.startswith("S")
        assert words.endswith(")")
        assert "…" in words
    assert fitted("cat", 2.0, 9) == "cat"


def test_names_by_label_by_order_and_by_number():
    labels = np.array([1, 3])
    assert names_of(labels) == ["1", "3"]
    assert names_of(labels, {1: "one", 3: "three"}) == ["one", "three"]
    assert names_of(labels, ["one", "three"]) == ["one", "three"]
    assert names_of(labels, list("abcd")) == ["b", "d"]
    with pytest.raises(ValueError, match="no name"):
        names_of(labels, {1: "one"})
