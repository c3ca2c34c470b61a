"""
How many stages should be trained?
==================================

``unfreeze`` says where the network is cut. The stages after the cut are trained on
your images, with a new head. Whether that pays off depends on how different your images
are from those the network was trained on. ``lenet5`` has learned digits in light
strokes on a dark background. Here it sees digits from another source, once like that
and once dark on light.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

from sktl import FineTunedClassifier

X, y = load_digits(return_X_y=True)
kinds = {"as in the pretraining": X, "inverted": 16 - X}

fig, axes = plt.subplots(2, 6, figsize=(6, 2.3))
for row, (name, images) in zip(axes, kinds.items(), strict=True):
    row[0].set_title(name, loc="left", fontsize=10)
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=16)
        ax.axis("off")
fig.tight_layout()

# %%
# There are ten labels of each digit, drawn three times. Every fit starts from the same
# point: the best linear head on the untouched network.

cuts = ["head", 1, 2, 3, "all"]
draws = StratifiedShuffleSplit(3, train_size=100, test_size=500, random_state=0)
scores = {
    name: np.array(
        [
            cross_val_score(
                FineTunedClassifier(
                    "lenet5",
                    unfreeze=cut,
                    max_epochs=12,
                    lr=3e-3,
                    lr_decay=0.7,
                    augment="none",
                    random_state=0,
                ),
                images,
                y,
                cv=draws,
            )
            for cut in cuts
        ]
    )
    for name, images in kinds.items()
}

# %%
fig, ax = plt.subplots(figsize=(7, 4))
for (name, score), colour in zip(scores.items(), ("#1f5f99", "#d9652b"), strict=True):
    ax.errorbar(
        [repr(cut) for cut in cuts],
        100 * score.mean(axis=1),
        100 * score.std(axis=1),
        marker="o",
        capsize=3,
        color=colour,
        label=name,
    )
ax.set(xlabel="unfreeze", ylabel="accuracy (%)", title="100 labelled digits")
ax.legend()
fig.tight_layout()

# %%
# On images like those of the pretraining, a new head is enough: training more stages
# gains nothing. On inverted images the late stages have to learn again, and training
# them recovers part of what the inversion cost. There is a second lesson: inverting
# the images back would have done most of that for free.
