"""Fine-tuning: scikit-learn estimators that train the last stages of a network."""

from sktl.finetune._classifier import FineTunedClassifier
from sktl.finetune._regressor import FineTunedRegressor

__all__ = ["FineTunedClassifier", "FineTunedRegressor"]
