"""
How many labels does a pretrained network save?
===============================================

Labels are the expensive part. ``lenet5`` has learned to read the digits of MNIST. How
far does it get with a few labels of *other* digits? Those of scikit-learn are 8 pixels
wide and come from another scanner and other writers.
"""

from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from sktl import PretrainedFeatures, ProbeClassifier
from sktl.inspection import EmbeddingMapDisplay, LabelCurveDisplay

X, y = load_digits(return_X_y=True)

# %%
# Three models compete: a head on the embeddings, the same head on the embeddings of the
# network *before* any training, and a support vector machine on the pixels.


contenders = {
    "lenet5": make_pipeline(PretrainedFeatures("lenet5"), ProbeClassifier()),
    "lenet5, untrained": make_pipeline(
        PretrainedFeatures("lenet5", weights=None, random_state=0), ProbeClassifier()
    ),
    "pixels": SVC(),
}

# %%
# Each point is the mean over five draws of labels, tested on images that are in none of
# the draws.

LabelCurveDisplay.from_estimator(
    contenders, X, y, n_labels=[1, 2, 5, 10, 20, 50], cv=5, random_state=0
)

# %%
# Ten labels per digit with the pretrained network are worth more than fifty with
# pixels. The untrained network is worse than no network: what transfers is what was
# learned, not the architecture.
#
# The embeddings show why so few labels are enough. The network was never told which of
# *these* digits belong together:

EmbeddingMapDisplay.from_estimator(
    PretrainedFeatures("lenet5").fit(X), X[:800], y[:800], method="tsne"
)
