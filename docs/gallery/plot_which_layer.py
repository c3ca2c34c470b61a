"""
Which layer transfers best?
===========================

A network can be cut after any of its stages. Early ones know edges, late ones know
the classes of their own training set; your task lies somewhere between. ``pocket``
has learned from coloured photographs, and is asked here about grey scans of digits:
images unlike its own. Where should it be cut?
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import sktl
from sktl import PretrainedFeatures

X, y = load_digits(return_X_y=True)
X, y = X[:600], y[:600]

# %%
# Both the cut and the strength of the head are parameters of one search. With 10
# labels of each digit to learn from, drawn eight times:

stages = list(sktl.get_backbone("pocket").stages[:-1])
search = GridSearchCV(
    Pipeline(
        [
            ("features", PretrainedFeatures("pocket", image_size=32)),
            ("scale", StandardScaler()),
            ("head", LogisticRegression(C=0.01, max_iter=500)),
        ]
    ),
    {"features__layers": stages, "features__pool": ["avg", "max"]},
    cv=StratifiedShuffleSplit(8, train_size=100, test_size=400, random_state=0),
    refit=False,
).fit(X, y)

# %%
# Eighty fits, and each image went through the network ten times: once for each cut
# and pooling. One run of the first stages cost less than one of the last, since what
# lies behind the cut is never computed.

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
    title="Digits from 10 labels of each class, read after each stage of pocket",
)
ax.legend()
fig.tight_layout()

# %%
# The stem sees edges only, wherever they are; the middle knows strokes and their
# crossings. Whether the last stage is still the best depends on how far your images
# are from those of the pretraining: let the search decide.
