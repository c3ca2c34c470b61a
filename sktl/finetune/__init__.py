"""Fine-tuning: scikit-learn estimators that train the last stages of a network."""

from sktl.finetune._classifier import FineTunedClassifier
from sktl.finetune._regressor import FineTunedRegressor

# Imported as itself: for displays, not part of the public API.
from sktl.finetune._training import Seeds as Seeds

__all__ = ["FineTunedClassifier", "FineTunedRegressor"]
