"""Estimators of sktl as records: parameters, what was learned, and trained weights.

:func:`saved_state` and :func:`restore` are the only functions of this package that know
the attributes of fitted estimators.
"""

from __future__ import annotations

import inspect
import re
import warnings
from typing import TYPE_CHECKING, Any

from sktl.exceptions import (
    ModelFileError,
    ModelFileWarning,
    UnstorableModelError,
    WeightsMismatchError,
)
from sktl.features import PretrainedFeatures
from sktl.persistence._archive import from_plain, to_plain

if TYPE_CHECKING:
    from torch import Tensor

    from sktl.engine import FrozenPart

_KINDS = ("PretrainedFeatures", "FineTunedClassifier", "FineTunedRegressor")
# These belong to a machine, not to a model.
_MACHINE_PARAMS = {"batch_size", "cache", "device", "max_bytes", "verbose"}
# A name, not an address: timm would download "hf-hub:someone/something".
_BACKBONE = re.compile(r"(timm/)?[\w.\-]+")
# Fitted attributes that are kept beside the facts of a fine-tuned estimator.
_ATTRIBUTES = ("n_features_in_", "feature_names_in_", "best_epoch_", "epoch_zero_")
# Where model files keep the facts, by the names they had in version 1.
_FACTS = {
    **{"value_range_": "value_range", "_split_seed": "split_seed"},
    **{"multilabel_": "multilabel", "_one_target": "one_target"},
    "_target_scale": "scale",
}


def saved_state(estimator) -> tuple[FrozenPart, dict, dict[str, Tensor]]:
    """Return the frozen part, the learned plain values and the trained weights."""
    known = [n for n in _ATTRIBUTES if vars(estimator).get(n) is not None]
    learned = {name: vars(estimator)[name] for name in known}
    if isinstance(estimator, PretrainedFeatures):
        return estimator._part, learned | {"value_range_": estimator.value_range_}, {}
    facts = estimator.module_.facts
    learned |= {name: facts[key] for name, key in _FACTS.items() if key in facts}
    if "classes" in facts:
        learned["classes_inferred_"] = estimator.classes_
    return estimator.embedding_part_, learned, estimator.module_.state_dict()


def restore(
    estimator, learned: dict, tensors: dict[str, Tensor], history: list[dict]
) -> FrozenPart:
    """Give an estimator its saved state, and return its frozen part."""
    known = {name: learned[name] for name in _ATTRIBUTES if name in learned}
    if isinstance(estimator, PretrainedFeatures):
        estimator._settle(learned.get("value_range_"))
        estimator.__dict__.update(known)
        return estimator._part
    from skorch.history import History

    facts = {key: learned[name] for name, key in _FACTS.items() if name in learned}
    estimator._restore(facts, tensors)
    estimator.__dict__.update(known, history_=History(history))
    return estimator.embedding_part_


def kind_of(value) -> str | None:
    """Return which estimator of sktl a value is, by name; None for anything else."""
    for cls in type(value).__mro__:
        if cls.__name__ in _KINDS and cls.__module__.startswith("sktl."):
            return cls.__name__
    return None


def to_record(estimator, number: int) -> tuple[dict, bytes | None]:
    """Return the record of an estimator of sktl, and its trained weights if any."""
    kind = kind_of(estimator)
    if type(estimator).__name__ != kind:
        raise UnstorableModelError(
            f"A model file cannot hold {type(estimator).__name__}, a subclass of "
            f"{kind}: loading it would run its code."
        )
    if not estimator.__sklearn_is_fitted__():
        # A ColumnTransformer keeps the steps it was given beside the fitted ones.
        return {"type": kind, "params": _plain_params(estimator, None)}, None
    part, learned, tensors = saved_state(estimator)
    record: dict = {
        "type": kind,
        "params": _plain_params(estimator, part),
        "learned": {name: to_plain(value) for name, value in learned.items()},
        "weights": part.backbone.fingerprint,
        "preparation": part.key,
        "backbone": {
            "name": part.backbone.name,
            "input": list(part.recipe.size),
            "features": part.backbone.info.n_features,
        },
    }
    if not tensors:
        return record, None
    from safetensors.torch import save

    record["arrays"] = f"part{number}.safetensors"
    record["trained"] = list(estimator.cut_.trained)
    record["history"] = []
    for epoch in estimator.history:
        plain = {k: v for k, v in epoch.items() if isinstance(v, (str, int, float))}
        finite = {k: v for k, v in plain.items() if str(v)[-3:] not in ("nan", "inf")}
        record["history"].append({**finite, "batches": []})
    if kind == "FineTunedClassifier":
        record["label_dtype"] = estimator.module_.facts["label_dtype"]
    # A copy of each: safetensors refuses tensors that share memory.
    copies = {k: t.detach().cpu().clone().contiguous() for k, t in tensors.items()}
    return record, save(copies)


def from_record(record: dict, members: dict[str, bytes], weights=None):
    """Return the estimator of a record, after checking its backbone."""
    kind = record["type"]
    if kind not in _KINDS:
        raise ModelFileError(f"A model file holds an unknown estimator: {kind!r}.")
    params = {name: from_plain(value) for name, value in record["params"].items()}
    if not _BACKBONE.fullmatch(params["backbone"]):
        raise ModelFileError(f"{params['backbone']!r} is not the name of a backbone.")
    if weights is not None:
        params["weights"] = weights
    tensors: dict = {}
    if kind == "PretrainedFeatures":
        estimator = PretrainedFeatures(**params)
    else:
        from safetensors.torch import load

        from sktl import finetune

        estimator = getattr(finetune, kind)(**params)
        if "arrays" in record:
            tensors = load(members[record["arrays"]])
    if "learned" in record:
        learned = {k: from_plain(v) for k, v in record["learned"].items()}
        part = restore(estimator, learned, tensors, record.get("history", []))
        _check_same(record, part)
    return estimator


def _plain_params(estimator, part: FrozenPart | None) -> dict:
    """Return the parameters that differ from their defaults, as plain data."""
    params = estimator.get_params(deep=False)
    if not isinstance(params["backbone"], str):
        raise UnstorableModelError(
            "A model file cannot hold a backbone of your own: it is code. Register it "
            "(sktl.register_backbone) and fit with its name, or use joblib."
        )
    if part is not None:
        if params["weights"] is None:
            drawn: Any = part.backbone.weights
            params["random_state"] = drawn.seed
        params["precision"] = part.precision
        if "engine" in params and part.precision != "float32":
            params["engine"] = part.engine
    signature = inspect.signature(type(estimator)).parameters
    plain, left_out = {"backbone": params["backbone"]}, []
    for name, value in params.items():
        is_default = name in signature and value is signature[name].default
        if is_default or name in _MACHINE_PARAMS:
            continue
        try:
            plain[name] = to_plain(value)
        except UnstorableModelError:
            if name == "head":  # predictions depend on it
                raise
            if name != "random_state":
                left_out.append(name)
    if left_out:
        warnings.warn(
            f"A model file cannot hold {', '.join(sorted(left_out))}. Predictions do "
            "not depend on them; set them again before you fit again.",
            ModelFileWarning,
            stacklevel=4,
        )
    return plain


def _check_same(record: dict, part: FrozenPart) -> None:
    """Refuse weights, or a preparation of images, other than those recorded."""
    name, found = record["backbone"]["name"], part.backbone.fingerprint
    if found != record["weights"]:
        raise WeightsMismatchError(
            f"The model was fitted with other weights of {name!r} ({record['weights']})"
            f" than are here ({found}). Pass the path of the original file as weights."
        )
    if part.key != record["preparation"]:
        raise ModelFileError(
            f"This version of sktl prepares images for {name!r} differently: recorded "
            f"{record['preparation']!r}, found {part.key!r}. Train the model again."
        )
