"""Fine-tuning: scikit-learn estimators that train the last stages of a network."""

# What is imported "as" itself is for other rooms, not part of the public API.
from sktl.finetune._classifier import FineTunedClassifier
from sktl.finetune._fit import compute_activations as compute_activations
from sktl.finetune._regressor import FineTunedRegressor
from sktl.finetune._training import Seeds as Seeds

__all__ = ["FineTunedClassifier", "FineTunedRegressor"]
