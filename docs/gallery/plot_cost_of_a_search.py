"""
What a search costs, with and without the store
===============================================

Cross-validation needs the embedding of an image again and again: in each fold, for each
candidate, for training and for testing. A frozen network always gives the same answer,
so sktl computes it once. How much does that save?
"""

import time

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatures
from sktl.engine import images_embedded

X, y = load_digits(return_X_y=True)
X, y = X[:200], y[:200]

# %%
# The grid has three values of ``C`` and three folds, and the best model is fitted again
# on all images. The only difference between the two runs is ``cache``.


def search_with(cache):
    model = make_pipeline(
        PretrainedFeatures("pocket", image_size=48, cache=cache),
        StandardScaler(),
        LogisticRegression(max_iter=300),
    )
    grid = {"logisticregression__C": [0.01, 0.1, 1]}
    embedded, started = images_embedded(), time.perf_counter()
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    seconds = time.perf_counter() - started
    return images_embedded() - embedded, seconds, search.best_score_


with_store = search_with("session")
without = search_with(None)
print("the same score:", with_store[2] == without[2])

# %%
names = ["store", "no store"]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
for ax, values, title in (
    (left, (with_store[0], without[0]), "images through the network"),
    (right, (with_store[1], without[1]), "seconds"),
):
    bars = ax.barh(names, values, color=["#1f5f99", "#8a94a6"])
    ax.bar_label(bars, fmt="{:,.0f}" if ax is left else "{:.1f}", padding=4)
    ax.set(title=title, xlim=(0, 1.25 * max(values)))
fig.tight_layout()

# %%
# For *n* images, *c* candidates and *k* folds, a search without a store embeds *n (c k
# + 1)* images; here 200 x (3 x 3 + 1). The larger the grid, the larger the gap: with
# the store, another head, another fold or a repetition needs no further pass.
