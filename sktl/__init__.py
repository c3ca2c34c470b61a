"""Transfer learning for images that feels like scikit-learn.

``PretrainedFeatures`` turns images into the embeddings of a frozen pretrained
network, ``FineTunedClassifier`` and ``FineTunedRegressor`` train the last stages of
one. All of them are ordinary scikit-learn estimators.

Importing sktl is cheap: names are loaded when they are first used, and torch only
when a network has to run.
"""

import importlib
import os
import secrets

__version__ = "0.1.0"

_HOME_OF = {
    "BackboneInfo": "sktl.backbones",
    "EmbeddingStore": "sktl.store",
    "FineTunedClassifier": "sktl.finetune",
    "FineTunedRegressor": "sktl.finetune",
    "PretrainedFeatures": "sktl.features",
    "get_backbone": "sktl.backbones",
    "list_backbones": "sktl.backbones",
    "load_model": "sktl.persistence",
    "register_backbone": "sktl.backbones",
    "save_model": "sktl.persistence",
}
_SUBPACKAGES = (
    "backbones",
    "datasets",
    "engine",
    "exceptions",
    "features",
    "finetune",
    "images",
    "inspection",
    "model_selection",
    "persistence",
    "store",
)

__all__ = [*sorted(_HOME_OF), "__version__"]

# Processes started from here on (joblib's workers among them) inherit the name of
# this run, and so find the embeddings that cache="session" shares between them.
os.environ.setdefault("SKTL_SESSION", f"{os.getpid()}-{secrets.token_hex(8)}")


def __getattr__(name: str):
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    elif name in _SUBPACKAGES:
        value = importlib.import_module(f"sktl.{name}")
    else:
        raise AttributeError(f"module 'sktl' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_SUBPACKAGES})
