"""
Which classes are confused, and which mistakes are the worst?
=============================================================

A score says how often a model is wrong, but not where. Pictures often show why: a wrong
label, one class that is really two, an illegible image.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from sktl import PretrainedFeatures, ProbeClassifier
from sktl.inspection import ImageConfusionDisplay, MistakesDisplay

X, y = load_digits(return_X_y=True)

# %%
# Every image is predicted by a model that was not fitted on it. The network is cut
# early, after its second stage, so that there are mistakes to look at.

model = make_pipeline(
    PretrainedFeatures("lenet5", layers="stage1"),
    ProbeClassifier(),
)
probabilities = cross_val_predict(model, X, y, cv=5, method="predict_proba")
predicted = probabilities.argmax(axis=1)

# %%
# The matrix is shown next to images of the classes that are confused most often.

ImageConfusionDisplay.from_predictions(X, y, predicted, y_proba=probabilities)

# %%
# The most confident mistakes:

MistakesDisplay.from_predictions(X, y, predicted, y_proba=probabilities, n_images=10)

# %%
# With the whole network most of the mistakes disappear. Those that remain are hard for
# people too.

better = model.set_params(pretrainedfeatures__layers=None)
probabilities = cross_val_predict(better, X, y, cv=5, method="predict_proba")
MistakesDisplay.from_predictions(
    X, y, probabilities.argmax(axis=1), y_proba=probabilities, n_images=10
)
