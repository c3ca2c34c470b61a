"""sktl's own estimators as records: parameters, what was learned, and the weights."""

from __future__ import annotations

import inspect
import re
import warnings

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sktl.exceptions import (
    ModelFileError,
    ModelFileWarning,
    UnstorableModelError,
    WeightsMismatchError,
)
from sktl.features import PretrainedFeatures
from sktl.persistence._plain import NotPlainError, from_plain, to_plain

# What belongs to a machine and not to a model.
_OF_THE_MACHINE = {"batch_size", "cache", "device", "max_bytes", "verbose"}
_FINE_TUNED = ("FineTunedClassifier", "FineTunedRegressor")
_LEARNED = {
    "PretrainedFeatures": ("value_range_", "n_features_in_", "feature_names_in_"),
    **dict.fromkeys(
        _FINE_TUNED,
        (
            *("value_range_", "n_features_in_", "feature_names_in_", "lr_"),
            *("classes_inferred_", "multilabel_", "best_epoch_", "epoch_zero_"),
            *("_one_target", "_target_scale", "_split_seed"),
        ),
    ),
}
# A name, and no address: timm would fetch "hf-hub:someone/something".
_BACKBONE = re.compile(r"(timm/)?[\w.\-]+")


def kind_of(value) -> str | None:
    """Return the name of the estimator of sktl that a value is; None for all others."""
    for cls in type(value).__mro__:
        if cls.__name__ in _LEARNED and cls.__module__.startswith("sktl."):
            return cls.__name__
    return None


def describe(estimator, number: int) -> tuple[dict, bytes | None]:
    """Return the record of a fitted estimator of sktl, and its arrays if it has any."""
    kind = kind_of(estimator)
    if type(estimator).__name__ != kind:
        raise UnstorableModelError(
            f"A model file cannot hold {type(estimator).__name__}, a subclass of "
            f"{kind}: loading it would have to run its code."
        )
    if not _is_fitted(estimator):
        # A ColumnTransformer keeps its steps as they were, beside the fitted ones.
        return {"type": kind, "params": _params(estimator)}, None
    fine_tuned = kind in _FINE_TUNED
    reference = estimator.backbone_ if fine_tuned else estimator._part.backbone
    part = estimator.embedding_part_ if fine_tuned else estimator._part
    record = {
        "type": kind,
        "params": _params(estimator, reference, part),
        "learned": {
            name: to_plain(vars(estimator)[name])
            for name in _LEARNED[kind]
            if vars(estimator).get(name) is not None
        },
        "weights": reference.fingerprint,
        "preparation": part.key,
        "backbone": {
            "name": reference.name,
            "input": list(part.recipe.size),
            "features": reference.info.n_features,
        },
    }
    if not fine_tuned:
        return record, None
    record["arrays"] = f"part{number}.safetensors"
    record["trained"] = list(estimator.cut_.trained)
    record["history"] = _history(estimator)
    if kind == "FineTunedClassifier":
        record["label_dtype"] = estimator._label_dtype.str
    return record, _arrays_of(estimator.module_)


def rebuild(record: dict, members: dict[str, bytes], weights=None):
    """Return the fitted estimator of a record, once its weights proved the same."""
    kind = record["type"]
    if kind not in _LEARNED:
        raise ModelFileError(f"A model file holds an unknown estimator: {kind!r}.")
    params = {name: from_plain(value) for name, value in record["params"].items()}
    if not _BACKBONE.fullmatch(params["backbone"]):
        raise ModelFileError(
            f"A model file names a backbone that is no name: {params['backbone']!r}."
        )
    if weights is not None:
        params["weights"] = weights
    if "learned" not in record:
        return _class_of(kind)(**params)
    learned = {name: from_plain(value) for name, value in record["learned"].items()}
    if kind == "PretrainedFeatures":
        return _rebuild_features(record, params, learned)
    return _rebuild_fine_tuned(record, params, learned, members)


def _params(estimator, reference=None, part=None) -> dict:
    """Return the parameters that are not as by default, as plain data."""
    params = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name not in _OF_THE_MACHINE
    }
    if not isinstance(params["backbone"], str):
        raise UnstorableModelError(
            f"A model file cannot hold a backbone of your own "
            f"({params['backbone']!r}): loading it would have to run code. Register "
            "it under a name (sktl.register_backbone) and fit with the name, or keep "
            "the model with joblib."
        )
    if part is not None:
        if params["weights"] is None:
            params["random_state"] = reference.weights.seed
        params["precision"] = part.precision
        if "engine" in params and part.precision != "float32":
            params["engine"] = part.engine
    default = {
        name: parameter.default
        for name, parameter in inspect.signature(type(estimator)).parameters.items()
    }
    plain, left_out = {}, []
    for name, value in params.items():
        if name in default and value is default[name]:
            continue
        try:
            plain[name] = to_plain(value)
        except NotPlainError:
            if name == "head":
                raise UnstorableModelError(
                    f"A model file cannot hold head={value!r}: loading it would have "
                    "to run code. Use head='linear', or keep the model with joblib."
                ) from None
            left_out.append(name)
    left_out = sorted(set(left_out) - {"random_state"})
    if left_out:
        warnings.warn(
            f"A model file cannot hold {', '.join(left_out)}, which are no plain data. "
            "Predictions do not depend on them; set them again before another fit.",
            ModelFileWarning,
            stacklevel=4,
        )
    return {"backbone": params["backbone"], **plain}


def _rebuild_features(record: dict, params: dict, learned: dict) -> PretrainedFeatures:
    estimator = PretrainedFeatures(**params)
    value_range = learned.pop("value_range_", None)
    estimator._settle(value_range)
    for name, value in learned.items():
        setattr(estimator, name, value)
    _check_same(record, estimator._part)
    return estimator


def _class_of(kind: str) -> type:
    """Return an estimator class of sktl; only those that train need torch."""
    if kind == "PretrainedFeatures":
        return PretrainedFeatures
    import sktl.finetune

    return getattr(sktl.finetune, kind)


def _is_fitted(estimator) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _rebuild_fine_tuned(record: dict, params: dict, learned: dict, members: dict):
    import torch
    from skorch.history import History

    estimator = _class_of(record["type"])(**params)
    learned.setdefault("value_range_", None)
    vars(estimator).update(learned)
    if "label_dtype" in record:
        estimator._label_dtype = from_plain(
            {"array": [], "shape": [0], "dtype": record["label_dtype"]}
        ).dtype
    # The head is drawn at random before its weights are put in.
    with torch.random.fork_rng(devices=[]):
        estimator.initialize()
    _check_same(record, estimator.embedding_part_)
    _fill(estimator.module_, members[record["arrays"]])
    estimator.module_.eval()
    vars(estimator).pop("optimizer_", None)  # as after unpickling: begins anew
    vars(estimator).update(learned, _begun=True)  # initialising forgets some of it
    estimator.module_.facts = estimator._facts()
    estimator.history_ = History(record["history"])
    return estimator


def _check_same(record: dict, part) -> None:
    """Refuse other weights, and another preparation of images, than were recorded."""
    found, name = part.backbone.fingerprint, record["backbone"]["name"]
    if found != record["weights"]:
        raise WeightsMismatchError(
            f"The model was made with other weights of {name!r} than are here: "
            f"{record['weights']} was recorded, {found} found. Pass the path of the "
            "original file as weights."
        )
    if part.key != record["preparation"]:
        raise ModelFileError(
            f"This version of sktl prepares images for {name!r} differently: "
            f"{record['preparation']!r} was recorded, {part.key!r} found. Load the "
            "model with the versions it names, or train it again."
        )


def _history(estimator) -> list[dict]:
    """Return the epochs, without their batches, as far as they are plain data."""
    epochs = []
    for row in estimator.history:
        epoch = {}
        for name, value in row.items():
            if isinstance(value, (int, float, str)) and value == value:
                epoch[name] = value
        epochs.append({**epoch, "batches": []})
    return epochs


def _arrays_of(module) -> bytes:
    """Return the weights of a module as safetensors."""
    import torch
    from safetensors.torch import save

    return save(
        {
            # A copy each: safetensors refuses tensors that share their memory.
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in module.state_dict().items()
        }
    )


def _fill(module, content: bytes) -> None:
    """Copy weights into a module, all of them and no others."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(content)
        module.load_state_dict(state, strict=True)
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"The weights in a model file do not fit its network: {error}"
        ) from error
