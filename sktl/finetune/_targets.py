"""What ``y`` holds, labels or numbers, and how the outputs of a network relate to it.

Both kinds of targets have the same methods. They are learned from ``y`` when training
begins, and saved as plain facts together with the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y
from torch import Tensor, nn
from torch.nn import functional

from sktl.finetune._trained_part import ScaledOutput, fill_head
from sktl.finetune._training_rows import TrainingRows
from sktl.heads import (
    check_class_weight,
    class_factors,
    solve_classes,
    solve_numbers,
)


@dataclass
class Labels:
    """Targets of a classifier: one class for each image, or several labels."""

    classes: np.ndarray  # all labels, sorted
    several: bool  # whether y is an indicator matrix
    dtype: np.dtype  # of y

    @classmethod
    def learn(cls, y, classes=None) -> Labels:
        """Return the targets that y holds; ``classes`` names all that may occur."""
        y, several = _checked_labels(y)
        if several:
            return cls(np.arange(y.shape[1]), True, y.dtype)
        found = cls(np.unique(y if classes is None else classes), False, y.dtype)
        if len(found.classes) < 2:
            raise ValueError(
                "The classifier needs samples of at least 2 classes, but y has only "
                f"one class: {found.classes.tolist()[0]!r}."
            )
        return found

    @classmethod
    def restore(cls, facts: Mapping) -> Labels:
        """Return the targets that were saved."""
        return cls(
            np.array(facts["classes"], dtype=facts["dtype"]),
            facts["multilabel"],
            np.dtype(facts["label_dtype"]),
        )

    def facts(self) -> dict:
        """Return plain values to save."""
        return {
            "classes": self.classes.tolist(),
            "dtype": self.classes.dtype.str,
            "multilabel": self.several,
            "label_dtype": self.dtype.str,
        }

    @property
    def n_outputs(self) -> int:
        """Outputs of the network."""
        return len(self.classes)

    @property
    def default_criterion(self) -> type[nn.Module]:
        """The loss, unless the user names another."""
        return nn.BCEWithLogitsLoss if self.several else nn.CrossEntropyLoss

    def encode(self, y) -> np.ndarray:
        """Return y as class numbers, or as floats 0 and 1 for several labels."""
        y, several = _checked_labels(y)
        if several != self.several:
            raise ValueError(
                "y is an indicator matrix in one call and a vector of labels in "
                "another; training can only continue with targets of the same kind."
            )
        if several:
            if y.shape[1] != self.n_outputs:
                raise ValueError(
                    f"y has {y.shape[1]} columns, but there are {self.n_outputs} "
                    "labels."
                )
            return y.astype(np.float32)
        codes = np.searchsorted(self.classes, y).clip(max=self.n_outputs - 1)
        unknown = np.unique(y[self.classes[codes] != y])
        if len(unknown):
            raise ValueError(
                "y has labels that are not among the classes: "
                f"{unknown[:10].tolist()}. Name all classes in the parameter classes, "
                "or in the first call of partial_fit."
            )
        return codes

    def strata(self, y: np.ndarray) -> np.ndarray | None:
        """Return what an inner split keeps in proportion."""
        return None if self.several else y

    def check(self, y: np.ndarray, weight: np.ndarray, class_weight, begins: bool):
        """Raise if the rows that count leave nothing to learn.

        ``begins`` says that training begins with these rows, and that no further
        classes were announced.
        """
        check_class_weight(class_weight, self.classes, y[weight > 0])
        if self.several:
            return
        labels = self.classes[np.unique(y[weight > 0])].tolist()
        if begins and len(labels) < 2:
            raise ValueError(
                "The classifier needs samples of at least 2 classes, but only one "
                f"class has a weight above zero: {labels[0]!r}."
            )

    def weigh(self, rows: TrainingRows, class_weight) -> np.ndarray:
        """Return the weights of rows, class weights included."""
        if class_weight is None:
            return rows.weight
        factors = class_factors(class_weight, self.classes, rows.y, rows.weight)
        return rows.weight * factors[rows.y]

    def check_same(self, other) -> None:
        """Raise if weights that were trained on ``other`` do not fit these targets."""
        same = np.array_equal(self.classes, other.classes)
        if not same or self.several != other.several:
            note = " (several for an image)"
            raise ValueError(
                f"The weights were trained on the labels {other.classes.tolist()}"
                f"{note * other.several}, but this net on {self.classes.tolist()}"
                f"{note * self.several}."
            )

    def learn_scale(self, rows: TrainingRows) -> None:
        """Learn the scale of the targets: labels have none."""

    def finish_head(self, head: nn.Module, device: str) -> nn.Module:
        """Return the head unchanged."""
        return head

    def solve_head(
        self, head: nn.Module, embeddings: np.ndarray, rows: TrainingRows
    ) -> None:
        """Start the head from a logistic regression on embeddings."""
        solved = solve_classes(
            embeddings, rows.y, self.n_outputs, rows.weight, rows.groups
        )
        fill_head(head, *solved)

    def losses(
        self, criterion, outputs: Tensor, y: Tensor, training: bool, smoothing: float
    ) -> Tensor:
        """Return the loss of each row: smoothed in training, plain otherwise."""
        if isinstance(criterion, nn.CrossEntropyLoss) and not training:
            return functional.cross_entropy(
                outputs, y, weight=criterion.weight, reduction="none"
            )
        if isinstance(criterion, nn.NLLLoss):
            outputs = outputs.log_softmax(-1)
        if self.several and training and smoothing:
            y = y * (1 - smoothing) + smoothing / 2
        return criterion(outputs, y)

    def hits(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the accuracy of each row, from 0 to 1."""
        if self.several:
            return ((outputs > 0) == (y > 0.5)).float().mean(1)
        return (outputs.argmax(1) == y).float()


@dataclass
class Numbers:
    """Targets of a regressor, with their scale in training."""

    mean: np.ndarray
    spread: np.ndarray
    is_vector: bool  # whether y has one dimension

    several: ClassVar = False
    default_criterion: ClassVar = nn.MSELoss

    @classmethod
    def learn(cls, y) -> Numbers:
        """Return the targets that y holds; their scale is learned later."""
        y = _checked_numbers(y)
        n = 1 if y.ndim == 1 else y.shape[1]
        return cls(np.zeros(n), np.ones(n), y.ndim == 1)

    @classmethod
    def restore(cls, facts: Mapping) -> Numbers:
        """Return the targets that were saved."""
        mean, spread = np.array(facts["scale"], dtype=np.float64)
        return cls(mean, spread, facts["one_target"])

    def facts(self) -> dict:
        """Return plain values to save."""
        scale = [self.mean.tolist(), self.spread.tolist()]
        return {"one_target": self.is_vector, "scale": scale}

    @property
    def n_outputs(self) -> int:
        """Outputs of the network."""
        return len(self.mean)

    def encode(self, y) -> np.ndarray:
        """Return y as columns of float64."""
        y = _checked_numbers(y).astype(np.float64)
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != self.n_outputs:
            raise ValueError(
                f"y has {columns.shape[1]} targets, but the network was built for "
                f"{self.n_outputs}."
            )
        return columns

    def strata(self, y: np.ndarray) -> None:
        """Return what an inner split keeps in proportion: nothing."""

    def check(self, y: np.ndarray, weight: np.ndarray, class_weight, begins: bool):
        """Accept all numbers."""

    def check_same(self, other) -> None:
        """Accept the scale of other targets: it comes with their weights."""

    def learn_scale(self, rows: TrainingRows) -> None:
        """Learn the scale of the targets."""
        self.mean = np.average(rows.y, axis=0, weights=rows.weight)
        variance = np.average((rows.y - self.mean) ** 2, axis=0, weights=rows.weight)
        # A constant target is not scaled.
        self.spread = np.where(variance > 0, np.sqrt(variance), 1.0)

    def weigh(self, rows: TrainingRows, class_weight) -> np.ndarray:
        """Return the weights of rows."""
        return rows.weight

    def finish_head(self, head: nn.Module, device: str) -> nn.Module:
        """Return the head with outputs in the units of the targets."""
        dtype = torch.float32 if device == "mps" else torch.float64
        mean = torch.as_tensor(self.mean, dtype=dtype)
        return ScaledOutput(head, mean, torch.as_tensor(self.spread, dtype=dtype))

    def solve_head(
        self, head: nn.Module, embeddings: np.ndarray, rows: TrainingRows
    ) -> None:
        """Start the head from a ridge regression on embeddings."""
        scaled = (rows.y - self.mean) / self.spread
        solved = solve_numbers(embeddings, scaled, rows.weight, rows.groups)
        fill_head(head.head, *solved)

    def losses(
        self, criterion, outputs: Tensor, y: Tensor, training: bool, smoothing: float
    ) -> Tensor:
        """Return the loss of each row, on targets of mean 0 and spread 1."""
        mean, spread = (
            torch.as_tensor(part, dtype=outputs.dtype, device=outputs.device)
            for part in (self.mean, self.spread)
        )
        return criterion(
            ((outputs - mean) / spread).float(), ((y - mean) / spread).float()
        )

    def hits(self, outputs: Tensor, y: Tensor) -> None:
        """Return nothing: numbers have no accuracy."""


Targets = Labels | Numbers


def _checked_labels(y) -> tuple[np.ndarray, bool]:
    """Return y as an array, and whether it is an indicator matrix."""
    _check_given(y, "classifier")
    y = y.toarray() if hasattr(y, "toarray") else y
    if np.asarray(y).dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    try:
        kind = type_of_target(y, input_name="y", raise_unknown=True)
    except TypeError as error:  # labels that cannot be sorted
        kinds = sorted({type(label).__name__ for label in np.ravel(y)})
        raise ValueError(
            f"y mixes labels of several types, or lacks some: {', '.join(kinds)}. "
            "Pass labels of one type, with none missing."
        ) from error
    check_classification_targets(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y has several columns of classes (multiclass-multioutput). Pass one "
            "column, an indicator matrix, or use one classifier per column "
            "(sklearn.multioutput.MultiOutputClassifier)."
        )
    several = kind == "multilabel-indicator"
    return np.asarray(_check_y(y, multi_output=several)), several


def _checked_numbers(y) -> np.ndarray:
    _check_given(y, "regressor")
    return np.asarray(_check_y(y, multi_output=True, y_numeric=True))


def _check_given(y, kind: str) -> None:
    if y is None:
        raise ValueError(
            f"This {kind} requires y to be passed, but the target y is None."
        )
