"""
Frozen features or fine-tuning? One grid search decides
=======================================================

Should the network stay frozen, with a classical head on top, or should its last
stages be trained too? Both are estimators, so both fit into one ``GridSearchCV``, with
the same folds and the same score. ``pocket`` was trained on photographs; here it has to
read digits.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from sktl.engine import images_embedded
from sktl.inspection import TrainingHistoryDisplay
from sktl.model_selection import strategy_grid

X, y = load_digits(return_X_y=True)
X, y = X[:240], y[:240]

# %%
# :func:`~sktl.model_selection.strategy_grid` writes the grid: two heads on frozen
# features, with their parameters, and fine-tuning of only a new head, of one stage, and
# of two. It is a list of dicts that you can print and edit.

estimator, grid = strategy_grid(
    ["pocket"],
    heads=["logistic", "svc"],
    unfreeze=["head", 1, 2],
    image_size=32,
    # A mirrored 5 is not a 5, so images are not augmented.
    fine_tuning={"max_epochs": 6, "augment": "none"},
    random_state=0,
)
for part in grid:
    print({name: values for name, values in part.items() if name != "model"})

# %%
search = GridSearchCV(
    estimator, grid, cv=StratifiedKFold(3, shuffle=True, random_state=0)
).fit(X, y)
print(f"{len(search.cv_results_['params'])} candidates, 3 folds")
print(f"{images_embedded()} passes of an image through a frozen part, {len(X)} images")

# %%
# The network was cut in three places. Each image was computed once up to each cut,
# however many folds and candidates there are.


def describe(params):
    model = params["model"]
    if "model__unfreeze" in params:
        return f"fine-tuned, unfreeze={params['model__unfreeze']!r}"
    chosen = ", ".join(
        f"{name.removeprefix('model__head__')}={value}"
        for name, value in params.items()
        if name.startswith("model__head__")
    )
    return f"frozen + {type(model[-1]).__name__}({chosen})"


results = search.cv_results_
order = np.argsort(results["mean_test_score"])
fig, ax = plt.subplots(figsize=(7, 4.5))
tuned = ["model__unfreeze" in results["params"][i] for i in order]
ax.barh(
    [describe(results["params"][i]) for i in order],
    results["mean_test_score"][order] * 100,
    xerr=results["std_test_score"][order] * 100,
    color=["#d9652b" if is_tuned else "#1f5f99" for is_tuned in tuned],
)
ax.set(
    xlim=(70, 100),
    xlabel="accuracy in cross-validation (%)",
    title="frozen (blue), fine-tuned (orange)",
)
fig.tight_layout()

# %%
# If candidates are within each other's error bars, choose the cheaper one. This is how
# a model with two trained stages learns:

model = grid[-1]["model"][0].set_params(unfreeze=2).fit(X, y)
TrainingHistoryDisplay.from_estimator(model)
