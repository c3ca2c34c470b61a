"""
Images and table columns in one model
=====================================

Often an image is one column among others: a price, a place, a date. A
``ColumnTransformer`` embeds the image column and treats the other columns as usual.

scikit-learn has no such table, so this example makes one from its digits. Each form has
a scanned digit, which may be hard to read, and a field that says whether the digit is
even. Neither column alone is enough to know the digit.
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
# The scans are noisy, and the field is wrong in one of twenty forms.

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
# The image column holds arrays. It could just as well hold paths or encoded bytes.

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
ax.set(xlabel="accuracy (%)", xlim=(0, 100), title="Ten draws of 200 training forms")
fig.tight_layout()
