"""Transfer learning for images that feels like scikit-learn.

``PretrainedFeatures`` turns images into the embeddings of a frozen pretrained
network, ``ProbeClassifier`` and ``ProbeRegressor`` learn from them, and
``FineTunedClassifier`` and ``FineTunedRegressor`` train the last stages of the network.
All are ordinary scikit-learn estimators.

Importing sktl is cheap: names load on first use, and torch only when a network runs.
"""

import importlib
import os
import secrets
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME_OF = {
    "AugmentedEstimator": "sktl.features",
    "BackboneInfo": "sktl.backbones",
    "EmbeddingStore": "sktl.store",
    "FineTunedClassifier": "sktl.finetune",
    "FineTunedRegressor": "sktl.finetune",
    "PretrainedFeatures": "sktl.features",
    "ProbeClassifier": "sktl.heads",
    "ProbeRegressor": "sktl.heads",
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
    "heads",
    "images",
    "inspection",
    "model_selection",
    "persistence",
    "report",
    "store",
)

__all__ = [*sorted(_HOME_OF), "__version__"]

# Processes started from here on, such as joblib's workers, inherit this name of the
# run, and use it to find the embeddings that cache="session" shares between them.
os.environ.setdefault("SKTL_SESSION", f"{os.getpid()}-{secrets.token_hex(8)}")

if TYPE_CHECKING:
    from sktl import backbones as backbones
    from sktl import datasets as datasets
    from sktl import engine as engine
    from sktl import exceptions as exceptions
    from sktl import features as features
    from sktl import finetune as finetune
    from sktl import heads as heads
    from sktl import images as images
    from sktl import inspection as inspection
    from sktl import model_selection as model_selection
    from sktl import persistence as persistence
    from sktl import report as report
    from sktl import store as store
    from sktl.backbones import BackboneInfo as BackboneInfo
    from sktl.backbones import get_backbone as get_backbone
    from sktl.backbones import list_backbones as list_backbones
    from sktl.backbones import register_backbone as register_backbone
    from sktl.features import AugmentedEstimator as AugmentedEstimator
    from sktl.features import PretrainedFeatures as PretrainedFeatures
    from sktl.finetune import FineTunedClassifier as FineTunedClassifier
    from sktl.finetune import FineTunedRegressor as FineTunedRegressor
    from sktl.heads import ProbeClassifier as ProbeClassifier
    from sktl.heads import ProbeRegressor as ProbeRegressor
    from sktl.persistence import load_model as load_model
    from sktl.persistence import save_model as save_model
    from sktl.store import EmbeddingStore as EmbeddingStore
else:
    # Hidden from type checkers, which would otherwise accept any name.
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
    return sorted([*__all__, *_SUBPACKAGES])
