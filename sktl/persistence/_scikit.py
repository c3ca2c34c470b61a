"""The scikit-learn part of a model, in the format of skops.

skops knows nothing about networks, so a numbered slot holds the place of each estimator
of sktl while scikit-learn's are written and read.
"""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Callable
from io import BytesIO

from sklearn.base import BaseEstimator

from sktl.exceptions import ModelFileError, UnstorableModelError
from sktl.persistence._archive import check_stored
from sktl.persistence._estimator_records import kind_of


# Model files hold the path of this class: it has to stay in this module.
class Slot(BaseEstimator):
    """Holds the place of an estimator of sktl."""

    def __init__(self, number=0):
        self.number = number


# Trusted beside what skops trusts: plain containers of numbers. Trees are not among
# them, since their compiled code follows whatever indices it is given.
TRUSTED = [
    f"{Slot.__module__}.{Slot.__qualname__}",
    "sktl.heads._probe.ProbeClassifier",
    "sktl.heads._probe.ProbeRegressor",
    "sktl.features._augmented.AugmentedEstimator",  # has to stay there as well
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
]
# Nodes that hold data. skops trusts some functions as well; our models need none.
_NODES = {
    *("BytesNode", "DefaultDictNode", "DictNode", "JsonNode", "ListNode", "LossNode"),
    *("MaskedArrayNode", "NdArrayNode", "ObjectNode", "RandomGeneratorNode"),
    *("RandomStateNode", "SetNode", "SliceNode", "SparseMatrixNode", "TupleNode"),
    "TypeNode",
}


def take_out(estimator) -> tuple[object, list]:
    """Return an estimator with slots, and the estimators of sktl that were there."""
    parts: list = []

    def swap(value):
        if kind_of(value) is None:
            return None
        parts.append(value)
        return Slot(len(parts) - 1)

    return _replaced(estimator, swap, {}), parts


def put_back(estimator, parts: list):
    """Return an estimator with the parts in its slots."""
    part = dict(enumerate(parts))

    def swap(value):
        return part[value.number] if isinstance(value, Slot) else None

    return _replaced(estimator, swap, {})


def _replaced(value, swap: Callable[[object], object | None], seen: dict):
    """Return a value with its contents replaced where ``swap`` returns something."""
    if id(value) in seen:
        return seen[id(value)][0]
    result = swap(value)
    if result is None:
        result, inside, is_sequence = value, {}, type(value) in (list, tuple)
        if isinstance(value, BaseEstimator):
            inside = vars(value)
        elif is_sequence or isinstance(value, dict):
            inside = dict(enumerate(value)) if is_sequence else value
        new = {key: _replaced(item, swap, seen) for key, item in inside.items()}
        if any(new[key] is not item for key, item in inside.items()):
            result = type(value)(new.values()) if is_sequence else copy.copy(value)
            if not is_sequence:
                (result if isinstance(value, dict) else vars(result)).update(new)
    seen[id(value)] = result, value  # keeps value alive, and so its id unique
    return result


def dump(estimator) -> bytes:
    """Return a scikit-learn estimator in the format of skops."""
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    try:
        content = skops.io.dumps(estimator)
        refused = _refused(content, "the model")
    except UnsupportedTypeException as error:
        refused = [f"{error}"]
    if refused:
        raise UnstorableModelError(
            f"A model file cannot hold {', '.join(refused)}: only estimators of "
            "scikit-learn and sktl can be loaded without running code. Use joblib."
        )
    return content


def load(content: bytes, path):
    """Return the estimator in ``content``, which may come from an untrusted source."""
    import skops.io

    if refused := ", ".join(_refused(content, path)):
        raise ModelFileError(
            f"{str(path)!r} asks for types that no model of sktl needs: {refused}."
        )
    return skops.io.loads(content, trusted=TRUSTED)


def _refused(content: bytes, path) -> list[str]:
    """Return what a skops file names that is not data of numpy or scikit-learn."""
    import skops.io

    with zipfile.ZipFile(BytesIO(content)) as archive:
        check_stored(archive, path)
        nodes: list[dict] = []
        json.loads(archive.read("schema.json"), object_hook=nodes.append)
    refused = {
        f"{node.get('__module__')}.{node.get('__class__')}"
        for node in nodes
        if "__loader__" in node and node["__loader__"] not in _NODES
    }
    if not refused:
        refused = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED)
    return sorted(refused)
