"""How classes appear in pictures: their names, colours and marks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Okabe and Ito's colours for all forms of colour vision, without their yellow, which
# is faint on white, and with Tol's olive.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#000000", "#56B4E9", "#D55E00", "#999933"),
)
MARKS = ("o", "s", "^", "D", "v", "P")
CORRECT, WRONG = COLOURS[0], COLOURS[6]


def colour_of(i: int) -> str:
    """Return the colour of the i-th class; grey for -1, all other classes."""
    return COLOURS[i % len(COLOURS)] if i >= 0 else "#b0b0b0"


def mark_of(i: int) -> str:
    """Return the mark of the i-th class: colours repeat, pairs of both do not."""
    return MARKS[i // len(COLOURS) % len(MARKS)] if i >= 0 else "."


def look_of_curve(i: int) -> dict:
    """Return colour and mark of the i-th of some curves that share their axes."""
    return {"color": COLOURS[(0, 6, 2, 3, 4, 5, 1, 7)[i % 8]], "marker": MARKS[i % 6]}


def names_of(labels: np.ndarray, display_labels=None) -> list[str]:
    """Return the names of sorted, distinct labels.

    ``display_labels`` holds names by label; or one for each of ``labels``; or, for
    labels that are numbers from 0 on, all names, as in ``Bunch.target_names``.
    """
    if display_labels is None:
        return [str(label) for label in labels]
    if isinstance(display_labels, Mapping):
        missing = [label for label in labels if label not in display_labels]
        if missing:
            raise ValueError(f"display_labels has no name for {missing[:5]!r}.")
        return [str(display_labels[label]) for label in labels]
    names = [str(name) for name in display_labels]
    if len(names) == len(labels):
        return names
    if labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < len(names):
        return [names[label] for label in labels]
    raise ValueError(
        f"display_labels has {len(names)} names for {len(labels)} classes "
        f"({', '.join(map(str, labels[:5]))}, ...). Pass one name for each class, in "
        "the order of the sorted labels, or a dict from labels to names."
    )


def codes_of(y, labels: np.ndarray, what: str) -> np.ndarray:
    """Return the position in ``labels`` of each value of ``y``, -1 for others."""
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(
            f"{what} has shape {y.shape}; this display needs one class for each image. "
            "If images have several labels, pass one column at a time."
        )
    position = {label: i for i, label in enumerate(labels.tolist())}
    return np.array([position.get(label, -1) for label in y.tolist()], dtype=int)


def turns_of(codes: np.ndarray) -> np.ndarray:
    """Return how many rows of the same class come before each row."""
    turns = np.empty(len(codes), dtype=int)
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        turns[own] = np.arange(len(own))
    return turns
