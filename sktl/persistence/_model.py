"""``save_model`` and ``load_model``."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktl.exceptions import (
    ModelFileError,
    ModelFileWarning,
    SktlError,
    UnstorableModelError,
)
from sktl.persistence._archive import (
    check_nested,
    read_archive,
    write_archive,
)
from sktl.persistence._parts import describe, rebuild
from sktl.persistence._plain import NotPlainError, from_plain, to_plain
from sktl.persistence._scikit import dump, load, put_back, take_out

_ESTIMATOR = "estimator.skops"
# What content can raise that has the right digests and was never saved by sktl.
_CRAFTED = (
    *(AttributeError, LookupError, MemoryError, OverflowError, RecursionError),
    *(TypeError, ValueError),
)


def save_model(
    estimator,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str] | None = None,
    metadata: Mapping | None = None,
) -> None:
    """Save a fitted model in a file that is safe to load.

    Parameters
    ----------
    estimator : fitted estimator
        A pipeline of :class:`~sktl.PretrainedFeatures` and estimators of
        scikit-learn, a :class:`~sktl.FineTunedClassifier` or
        :class:`~sktl.FineTunedRegressor`, or a search over these, of which the best
        estimator is saved.

    path : str or path-like
        The file, by custom ``model.sktl``. It is written beside its place and then
        moved there: whatever happens, the file is whole, or the former one.

    class_names : sequence of str, default=None
        Names of the classes in the order of ``classes_``, for labels that are
        numbers.

    metadata : mapping, default=None
        Plain data to keep with the model, such as its score.

    Raises
    ------
    UnstorableModelError
        If the model holds code (a network, a head or a transformer of your own).

    See Also
    --------
    load_model : Reads the file.
    joblib.dump : Holds anything, and runs whatever the file says when it is loaded.

    Notes
    -----
    The file is a zip without compression: a JSON manifest, the scikit-learn part in
    the format of `skops <https://skops.readthedocs.io>`_, trained stages and heads as
    safetensors. Frozen stages are not in it: the manifest has the name of the
    backbone and the fingerprint of its weights, so a pipeline takes kilobytes.
    Settings of the machine (``cache``, ``device``, ``batch_size``, ``verbose``) are
    not kept.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import PretrainedFeatures
    >>> from sktl.persistence import load_model, save_model
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(
    ...     PretrainedFeatures("lenet5"), LogisticRegression(max_iter=1000)
    ... ).fit(X[:100], y[:100])
    >>> path = os.path.join(tempfile.mkdtemp(), "digits.sktl")
    >>> save_model(model, path)
    >>> bool((load_model(path).predict(X) == model.predict(X)).all())
    True
    """
    if hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    check_is_fitted(estimator)
    rest, parts = take_out(estimator)
    if not parts:
        raise UnstorableModelError(
            f"{type(estimator).__name__} holds no estimator of sktl; a model file is "
            "for models of images. Keep others with skops or joblib."
        )
    members, records = {_ESTIMATOR: dump(rest)}, []
    for number, part in enumerate(parts):
        record, arrays = describe(part, number)
        records.append(record)
        if arrays is not None:
            members[record["arrays"]] = arrays
    classes = getattr(estimator, "classes_", None)
    manifest = {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(
            "T", "seconds"
        ),
        "versions": _versions(),
        "estimator": " ".join(repr(estimator).split()),
        "classes": None if classes is None else _plain("classes_", classes),
        "class_names": _names(class_names, classes),
        "metadata": _plain("metadata", dict(metadata or {})),
        "parts": records,
    }
    write_archive(Path(os.fspath(path)), manifest, members)


def load_model(path: str | os.PathLike, *, weights: str | os.PathLike | None = None):
    """Load a model that :func:`save_model` has saved, without running code from it.

    Parameters
    ----------
    path : str or path-like
        The file.

    weights : str, path or None, default=None
        Where the weights of the backbone lie, if the model was fitted with a file of
        weights that has another path here. They have to be the same weights.

    Returns
    -------
    estimator : fitted estimator
        The model, with ``cache="session"`` and ``device="auto"``.

    Raises
    ------
    ModelFileError
        If the file is no model file, of another format version, damaged, or holds
        what no model needs.
    WeightsUnavailableError
        If the weights of the backbone are not on this machine and cannot be fetched.
    WeightsMismatchError
        If they are other weights than those that the model was fitted with.

    Notes
    -----
    Nothing in the file is executed: it can only name estimators of scikit-learn and
    sktl and fill them with numbers. Digests in the file show that it arrived as it was
    saved. They are no signature: whoever alters a file on purpose can compute them
    again, and make the model say anything. Take models from those you trust to train
    them.

    Examples
    --------
    See :func:`save_model`.
    """
    manifest, members = read_archive(Path(os.fspath(path)))
    try:
        check_nested(members[_ESTIMATOR], path)
        parts = [rebuild(record, members, weights) for record in manifest["parts"]]
        estimator = put_back(load(members[_ESTIMATOR]), parts)
    except SktlError:
        raise
    except _CRAFTED as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged or was altered: its parts do not fit together "
            f"({type(error).__name__}: {error})."
        ) from error
    _warn_of_versions(manifest, path)
    return estimator


def describe_model(path: str | os.PathLike) -> dict:
    """Return what a model file says of itself; the model is checked, and not loaded.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    description : dict
        ``estimator`` (its repr), ``classes``, ``class_names``, ``backbones``,
        ``weights`` (their fingerprints), ``versions``, ``created``, ``metadata``,
        ``bytes``.

    Raises
    ------
    ModelFileError
        If the file is no model file, of another format version or damaged.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from sktl import PretrainedFeatures
    >>> from sktl.persistence import describe_model, save_model
    >>> path = os.path.join(tempfile.mkdtemp(), "features.sktl")
    >>> images = np.zeros((2, 32, 32), dtype=np.uint8)
    >>> save_model(PretrainedFeatures("lenet5").fit(images), path)
    >>> describe_model(path)["backbones"]
    ['lenet5']
    """
    manifest, _ = read_archive(Path(os.fspath(path)))
    fitted = [record for record in manifest["parts"] if "learned" in record]
    classes = from_plain(manifest["classes"])
    return {
        "estimator": manifest["estimator"],
        "classes": None if classes is None else np.asarray(classes).tolist(),
        "class_names": manifest["class_names"],
        "backbones": [record["backbone"]["name"] for record in fitted],
        "weights": [record["weights"] for record in fitted],
        "versions": manifest["versions"],
        "created": manifest["created"],
        "metadata": from_plain(manifest["metadata"]),
        "bytes": os.path.getsize(path),
    }


def _versions() -> dict[str, str]:
    names = ("sktl", "numpy", "scikit-learn", "skops", "skorch", "torch")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **versions}


def _plain(name: str, value):
    try:
        return to_plain(value)
    except NotPlainError as error:
        raise UnstorableModelError(
            f"{name} cannot be kept in a file: {error}"
        ) from error


def _names(class_names, classes) -> list[str] | None:
    """Return class names as a list, one for each class."""
    if class_names is None:
        return None
    names = [str(name) for name in class_names]
    if classes is None or len(names) != len(classes):
        n = "no" if classes is None else len(classes)
        raise ValueError(f"class_names has {len(names)} names for {n} classes.")
    return names


def _warn_of_versions(manifest: dict, path) -> None:
    """Warn if scikit-learn, whose estimators may change inside, is another one."""
    then = manifest["versions"].get("scikit-learn", "")
    now = importlib.metadata.version("scikit-learn")
    if then.split(".")[:2] != now.split(".")[:2]:
        warnings.warn(
            f"{str(path)!r} was saved with scikit-learn {then}, and this is {now}. "
            "Heads may predict otherwise than they did.",
            ModelFileWarning,
            stacklevel=3,
        )
