"""
Numbers from images, and when a network adds nothing
====================================================

Not every question is about classes. By how many degrees is a digit rotated? Three
regressors try to answer: a ridge regression on the pixels, the same on frozen features,
and a fine-tuned network. The first is there because you cannot know in advance whether
a network helps.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import FineTunedRegressor, PretrainedFeatures

# %%
# There are six hundred digits, each rotated by its own angle.

digits = load_digits()
rng = np.random.default_rng(0)
some = rng.choice(len(digits.images), 600, replace=False)
angles = rng.uniform(-45, 45, len(some))
enlarged = digits.images[some].repeat(4, axis=1).repeat(4, axis=2)
turned = np.stack(
    [
        rotate(image, angle, reshape=False, order=1)
        for image, angle in zip(enlarged, angles, strict=True)
    ]
)
X = np.clip(turned * 16, 0, 255).astype(np.uint8)
X_train, X_test, y_train, y_test = train_test_split(
    X, angles, test_size=200, random_state=0
)

fig, axes = plt.subplots(1, 8, figsize=(8, 1.5))
for ax, image, angle in zip(axes, X_test, y_test, strict=False):
    ax.imshow(image, cmap="gray")
    ax.set_title(f"{angle:.0f}°", fontsize=10)
    ax.axis("off")

# %%
# Mirroring an image changes the angle, so it is good that regressors augment nothing by
# default. The network is cut early, because its last stages were trained to recognise a
# digit whatever its slant.

strengths = np.logspace(0, 5, 11)
models = {
    "pixels + ridge": make_pipeline(StandardScaler(), RidgeCV(strengths)),
    "frozen + ridge": make_pipeline(
        PretrainedFeatures("lenet5", layers="stage1", pool="flatten"),
        StandardScaler(),
        RidgeCV(strengths),
    ),
    "fine-tuned": FineTunedRegressor(
        "lenet5",
        unfreeze="all",
        max_epochs=30,
        lr=5e-3,
        lr_decay=1.0,
        random_state=0,
    ),
}
errors, predictions = {}, {}
for name, model in models.items():
    flat = name.startswith("pixels")
    model.fit(X_train.reshape(400, -1) if flat else X_train, y_train)
    predictions[name] = model.predict(X_test.reshape(200, -1) if flat else X_test)
    errors[name] = mean_absolute_error(y_test, predictions[name])

# %%
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), sharex=True, sharey=True)
for ax, name in zip(axes, models, strict=True):
    ax.plot([-45, 45], [-45, 45], color="0.6", linewidth=1)
    ax.scatter(y_test, predictions[name], s=12, color="#1f5f99")
    ax.set(
        title=f"{name}\noff by {errors[name]:.1f}° on average", xlabel="angle", aspect=1
    )
axes[0].set_ylabel("predicted angle")
fig.tight_layout()

# %%
# The pixels already show the angle, and a network that learned to read digits has
# little to add: the plain baseline is as good as the others, or better. Frozen features
# and fine-tuning work for numbers as they do for classes, but only the comparison with
# the first panel shows whether they are *worth* it.
# :func:`~sktl.model_selection.compare` always includes such a baseline.
