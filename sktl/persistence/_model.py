"""``save_model``, ``load_model`` and ``describe_model``."""

from __future__ import annotations

import os
import platform
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from sklearn.utils.validation import check_is_fitted

from sktl.exceptions import (
    ModelFileError,
    ModelFileWarning,
    SktlError,
    UnstorableModelError,
)
from sktl.persistence import _scikit
from sktl.persistence._archive import from_plain, read_archive, to_plain, write_archive
from sktl.persistence._estimator_records import from_record, to_record

_SKOPS = "estimator.skops"
_PACKAGES = ("sktl", "numpy", "scikit-learn", "skops", "skorch", "torch")
# What the content of a crafted file can raise, even with the right digests.
_CRAFTED = (
    *(AttributeError, EOFError, ImportError, LookupError, MemoryError, OverflowError),
    *(RuntimeError, SafetensorError, TypeError, ValueError, zipfile.BadZipFile),
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
        scikit-learn, a fine-tuned estimator, or a search over these, whose best
        estimator is saved.

    path : str or path-like
        The file. If writing fails, an existing file stays unchanged.

    class_names : sequence of str, default=None
        Names for numbered classes, in the order of ``classes_``.

    metadata : mapping, default=None
        Plain data to keep with the model, such as its score.

    Raises
    ------
    UnstorableModelError
        If the model holds code: a network, a head or a transformer of your own.

    See Also
    --------
    joblib.dump : Save anything; loading such a file runs any code in it.

    Notes
    -----
    The file is a zip of a JSON manifest, the scikit-learn part in the format of
    `skops <https://skops.readthedocs.io>`_, and trained stages and heads as
    safetensors. Of frozen stages it holds the name of the backbone and the fingerprint
    of its weights, so a pipeline takes kilobytes. Settings of the machine (``cache``,
    ``device``, ``batch_size``, ``verbose``) are not saved.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import SVC
    >>> from sktl import PretrainedFeatures
    >>> from sktl.persistence import load_model, save_model
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(PretrainedFeatures("lenet5"), SVC()).fit(X[:100], y[:100])
    >>> path = os.path.join(tempfile.mkdtemp(), "digits.sktl")
    >>> save_model(model, path)
    >>> bool((load_model(path).predict(X) == model.predict(X)).all())
    True
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    check_is_fitted(estimator)
    rest, parts = _scikit.take_out(estimator)
    if not parts:
        raise UnstorableModelError(
            f"{type(estimator).__name__} holds no estimator of sktl. Use joblib."
        )
    classes = getattr(estimator, "classes_", None)
    if class_names is not None:
        class_names = [str(name) for name in class_names]
        n, n_classes = len(class_names), 0 if classes is None else len(classes)
        if n != n_classes:
            raise ValueError(f"class_names has {n} names for {n_classes} classes.")
    members, records = {_SKOPS: _scikit.dump(rest)}, []
    for number, part in enumerate(parts):
        record, tensors = to_record(part, number)
        records.append(record)
        if tensors is not None:
            members[record["arrays"]] = tensors
    manifest = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in _PACKAGES},
        "estimator": " ".join(repr(estimator).split()),
        "classes": to_plain(classes),
        "class_names": class_names,
        "metadata": to_plain(dict(metadata or {})),
        "parts": records,
    }
    write_archive(Path(path), manifest, members)


def load_model(
    path: str | os.PathLike, *, weights: str | os.PathLike | None = None
) -> Any:
    """Load a model saved by :func:`save_model`, without running code from the file.

    Parameters
    ----------
    path : str or path-like
        The file.

    weights : str, path or None, default=None
        Where the weights of the backbone are, if the model was fitted with a weights
        file that has another path on this machine.

    Returns
    -------
    estimator : fitted estimator
        The model, with ``cache="session"`` and ``device="auto"``.

    Raises
    ------
    ModelFileError
        If the file is not a model file, is damaged, has another format version, or
        holds something that no model needs.
    WeightsUnavailableError
        If the weights of the backbone cannot be found or downloaded.
    WeightsMismatchError
        If they are not the weights that the model was fitted with.

    Notes
    -----
    Nothing in the file is executed: it can only name estimators of scikit-learn and
    sktl and fill them with numbers. Its digests reveal damage but are not a signature:
    load models only from people whom you trust to train them.

    Examples
    --------
    See :func:`save_model`.
    """
    manifest, members = read_archive(Path(path))
    try:
        rest = _scikit.load(members[_SKOPS], path)
        parts = [from_record(record, members, weights) for record in manifest["parts"]]
        estimator = _scikit.put_back(rest, parts)
    except SktlError:
        raise
    except _CRAFTED as error:
        raise ModelFileError(
            f"{str(path)!r} cannot be loaded: its parts do not fit together "
            f"({type(error).__name__}: {error})."
        ) from error
    then, now = manifest["versions"].get("scikit-learn", ""), version("scikit-learn")
    if then.split(".")[:2] != now.split(".")[:2]:
        warnings.warn(
            f"{str(path)!r} was saved with scikit-learn {then}, and this is {now}. "
            "Its predictions may differ from those of the saved model.",
            ModelFileWarning,
            stacklevel=2,
        )
    return estimator


def describe_model(path: str | os.PathLike) -> dict:
    """Return what a model file says about its model, without loading it.

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
        If the file is not a model file, is damaged, or has another format version.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from sktl import PretrainedFeatures
    >>> from sktl.persistence import describe_model, save_model
    >>> path = os.path.join(tempfile.mkdtemp(), "features.sktl")
    >>> save_model(PretrainedFeatures("lenet5").fit(np.zeros((2, 32, 32))), path)
    >>> describe_model(path)["backbones"]
    ['lenet5']
    """
    manifest, _ = read_archive(Path(path))
    fitted = [record for record in manifest["parts"] if "learned" in record]
    classes = from_plain(manifest["classes"])
    copied = ("estimator", "class_names", "versions", "created")
    return {name: manifest[name] for name in copied} | {
        "classes": None if classes is None else np.asarray(classes).tolist(),
        "backbones": [record["backbone"]["name"] for record in fitted],
        "weights": [record["weights"] for record in fitted],
        "metadata": from_plain(manifest["metadata"]),
        "bytes": os.path.getsize(path),
    }
