"""The scikit-learn part of a model, by skops; sktl's estimators leave a slot in it."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Callable
from io import BytesIO

from sklearn.base import BaseEstimator

from sktl.exceptions import ModelFileError, UnstorableModelError
from sktl.persistence._parts import kind_of


class Slot(BaseEstimator):
    """Stands for an estimator of sktl while scikit-learn's are written and read."""

    def __init__(self, number=0):
        self.number = number


# Beside what skops trusts by itself. Plain containers of numbers, all of them: trees,
# whose compiled code follows the indices it is given, are not.
TRUSTED = [
    f"{Slot.__module__}.{Slot.__qualname__}",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
]
# The kinds of node that data has. Others (functions, partials, methods, operators)
# name code to call; skops has a list of its own for those, and we need none of them.
_NODES = {
    *("BytesNode", "DefaultDictNode", "DictNode", "JsonNode", "ListNode", "LossNode"),
    *("MaskedArrayNode", "NdArrayNode", "ObjectNode", "RandomGeneratorNode"),
    *("RandomStateNode", "SetNode", "SliceNode", "SparseMatrixNode", "TupleNode"),
    "TypeNode",
}
_HOMES = ("builtins", "collections", "numpy", "scipy.sparse", "sklearn")


def replaced(value, swap: Callable[[object], object | None], memo: dict | None = None):
    """Return an estimator with some of those inside it replaced; the rest is shared.

    ``swap`` returns the replacement of a value, or None to look inside it.
    """
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)][0]
    result = swap(value)
    if result is None:
        result = value
        if isinstance(value, BaseEstimator):
            inside = {k: replaced(v, swap, memo) for k, v in vars(value).items()}
            if any(inside[key] is not old for key, old in vars(value).items()):
                result = copy.copy(value)
                vars(result).update(inside)
        elif type(value) in (list, tuple):
            inside = [replaced(item, swap, memo) for item in value]
            if any(new is not old for new, old in zip(inside, value, strict=True)):
                result = type(value)(inside)
        elif isinstance(value, dict):
            inside = {k: replaced(v, swap, memo) for k, v in value.items()}
            if any(inside[key] is not old for key, old in value.items()):
                result = copy.copy(value)
                result.update(inside)
    memo[id(value)] = result, value  # keeps value alive, and so its id its own
    return result


def take_out(estimator) -> tuple[object, list]:
    """Return an estimator with slots, and the estimators of sktl that were there."""
    parts: list = []

    def swap(value):
        if kind_of(value) is None:
            return None
        for number, part in enumerate(parts):
            if part is value:
                return Slot(number)
        parts.append(value)
        return Slot(len(parts) - 1)

    return replaced(estimator, swap), parts


def put_back(estimator, parts: list):
    """Return an estimator with the parts in its slots."""

    def swap(value):
        if not isinstance(value, Slot):
            return None
        if not isinstance(value.number, int) or not 0 <= value.number < len(parts):
            raise ModelFileError("A model file refers to a part that it does not hold.")
        return parts[value.number]

    return replaced(estimator, swap)


def dump(estimator) -> bytes:
    """Return a scikit-learn estimator in the format of skops."""
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    try:
        content = skops.io.dumps(estimator)
        strange = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED)
        if not strange:
            strange = _strange_nodes(content)
    except UnsupportedTypeException as error:
        raise UnstorableModelError(
            f"A model file cannot hold this estimator: {error}. Keep it with joblib."
        ) from error
    if strange:
        raise UnstorableModelError(
            f"A model file holds estimators of scikit-learn and sktl, and not "
            f"{', '.join(sorted(strange))}: loading them would have to run their "
            "code. Keep the model with joblib."
        )
    return content


def load(content: bytes):
    """Return the estimator in ``content``, which may have come from anywhere."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        strange = _strange_nodes(content)
        if strange:
            raise ModelFileError(
                "A model file asks for types that no model of sktl needs: "
                f"{', '.join(sorted(strange))}."
            )
        return skops.io.loads(content, trusted=TRUSTED)
    except ModelFileError:
        raise
    except (
        UntrustedTypesFoundException,
        *(AttributeError, ImportError, LookupError, MemoryError, OSError),
        *(OverflowError, RecursionError, TypeError, ValueError, zipfile.BadZipFile),
    ) as error:
        raise ModelFileError(
            f"The scikit-learn part of a model file cannot be read: {error}"
        ) from error


def _strange_nodes(content: bytes) -> set[str]:
    """Return the types in a skops file that are no data of numpy or scikit-learn."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        waiting = [json.loads(archive.read("schema.json"))]
    strange = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            if "__loader__" in node:
                kind, home = node["__loader__"], str(node.get("__module__"))
                name = f"{home}.{node.get('__class__')}"
                at_home = any(home == h or home.startswith(f"{h}.") for h in _HOMES)
                if kind not in _NODES or not (at_home or name in TRUSTED):
                    strange.add(f"{name} ({kind})")
    return strange
