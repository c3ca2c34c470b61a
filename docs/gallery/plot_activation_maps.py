"""
Which part of an image counts towards a class?
==============================================

A model that is right for the wrong reason fails on new images. If the head is linear
and the embedding is an average over image positions, the score of a class is an
average too. Then it can be split exactly into the contribution of each position.

Here the model has to tell crops of two photographs apart: a building and a flower.
"""

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.pipeline import make_pipeline

from sktl import PretrainedFeatures, ProbeClassifier
from sktl.inspection import ActivationMapDisplay

pictures = load_sample_images().images
names = ["building", "flower"]


def crops(picture, side=120, step=40):
    """Cut a photograph into overlapping squares."""
    height, width, _ = picture.shape
    return [
        picture[top : top + side, left : left + side]
        for top in range(0, height - side + 1, step)
        for left in range(0, width - side + 1, step)
    ]


X, y = [], []
for label, picture in enumerate(pictures):
    X += crops(picture)
    y += [names[label]] * (len(X) - len(y))
print(len(X), "crops")

# %%
model = make_pipeline(
    PretrainedFeatures("pocket", layers="stage3"),
    ProbeClassifier(),
).fit(X, y)

# %%
# Now the whole photographs, which are wider than any crop, and a collage of both: what
# counts towards the flower (red), and what against it (blue)?

china, flower = pictures
collage = np.where((np.arange(640) < 320)[None, :, None], china, flower)
display = ActivationMapDisplay.from_estimator(
    model, [china[:, 107:534], flower[:, 107:534], collage[:, 107:534]], target="flower"
)

# %%
# The maps are not an approximation: their mean, plus a constant, *is* the score.

print(np.allclose(display.maps.mean(axis=(1, 2)) + display.intercepts, display.scores))
