"""
An image and a table in one model
=================================

Often an image is one column among others: a price, a place, a date. A
``ColumnTransformer`` embeds the image column and treats the rest as usual.

There is no such table inside scikit-learn, so one is made here from its digits. A
form has a scanned figure, which may be a 1 or a 7 and so on, and a field that says
whether it is even. Neither column tells the figure alone.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sktl import PretrainedFeatures

digits = load_digits()
rng = np.random.default_rng(0)

# %%
# The scans are spoilt by noise; the field is wrong in one of twenty forms.

noisy = np.clip(digits.images + rng.normal(0, 5, digits.images.shape), 0, 16)
even = (digits.target % 2 == 0) ^ (rng.random(len(noisy)) < 0.05)
forms = pd.DataFrame(
    {"scan": list(noisy), "parity": np.where(even, "even", "odd")}
).iloc[:800]
target = digits.target[:800]

fig, axes = plt.subplots(1, 8, figsize=(8, 1.6))
for ax, (_, form) in zip(axes, forms.iterrows(), strict=False):
    ax.imshow(form.scan, cmap="gray")
    ax.set_title(form.parity, fontsize=10)
    ax.axis("off")

# %%
# The image column holds arrays; it could as well hold paths or encoded bytes.

image = ("image", PretrainedFeatures("lenet5", value_range=(0, 16)), ["scan"])
table = ("table", OneHotEncoder(), ["parity"])


def score(*columns):
    model = make_pipeline(
        ColumnTransformer(list(columns)),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=1000),
    )
    draws = StratifiedShuffleSplit(10, train_size=200, random_state=0)
    return 100 * cross_val_score(model, forms, target, cv=draws)


scores = {
    "table": score(table),
    "image": score(image),
    "image and table": score(image, table),
}

# %%
fig, ax = plt.subplots(figsize=(6, 3))
ax.barh(
    list(scores),
    [s.mean() for s in scores.values()],
    xerr=[s.std() for s in scores.values()],
    color=["#8a94a6", "#1f5f99", "#d9652b"],
)
ax.set(
    xlabel="accuracy (%)", xlim=(0, 100), title="Ten draws of 200 forms to learn from"
)
fig.tight_layout()
