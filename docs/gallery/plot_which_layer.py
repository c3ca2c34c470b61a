"""
Which layer transfers best?
===========================

A network can be cut after any of its stages. Early stages detect edges, late stages
know the classes of their training set, and your task is somewhere in between.
``pocket`` was trained on colour photographs. Here it sees grey scans of digits, which
look quite different. Where should it be cut?
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline

import sktl
from sktl import PretrainedFeatures, ProbeClassifier

X, y = load_digits(return_X_y=True)
X, y = X[:600], y[:600]

# %%
# Both the cut and the pooling are parameters of one search, with 10 labels per digit,
# drawn eight times:

stages = list(sktl.get_backbone("pocket").stages[:-1])
search = GridSearchCV(
    Pipeline(
        [
            ("features", PretrainedFeatures("pocket", image_size=32)),
            ("head", ProbeClassifier()),
        ]
    ),
    {"features__layers": stages, "features__pool": ["avg", "max"]},
    cv=StratifiedShuffleSplit(8, train_size=100, test_size=400, random_state=0),
    refit=False,
).fit(X, y)

# %%
# These are eighty fits, but each image went through the network only ten times: once
# for each cut and pooling. Early cuts cost less than late ones, because the stages
# after the cut are never computed.

results = search.cv_results_
fig, ax = plt.subplots(figsize=(7, 4))
for pool, colour in (("avg", "#1f5f99"), ("max", "#d9652b")):
    chosen = results["param_features__pool"] == pool
    mean, spread = (
        results[f"{what}_test_score"][chosen] * 100 for what in ("mean", "std")
    )
    ax.errorbar(
        stages,
        mean,
        spread,
        color=colour,
        marker="o",
        capsize=3,
        label=f"{pool} pooling",
    )
ax.set(
    xlabel="cut after",
    ylabel="accuracy (%)",
    title="Digits from 10 labels per class, with pocket cut after each stage",
)
ax.legend()
fig.tight_layout()

# %%
# The stem detects only edges; the middle stages detect strokes and how they cross.
# Whether the last stage is still the best depends on how different your images are from
# those of the pretraining: let the search decide.
