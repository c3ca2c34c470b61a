"""
A rough segmentation from a few strokes
=======================================

To outline things in an image, you would need a label for each pixel, and few people
have those. But every position of a feature map is an embedding of a small part of the
image. So label some positions with a few brush strokes, fit a classifier on those, and
predict the rest.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatures

picture = load_sample_images().images[0]  # china.jpg, 427 x 640 pixels

# %%
# ``pool="flatten"`` keeps the position of everything. The network expects squares, so
# the picture is cut into two that overlap, and ``image_size`` is set to their size. The
# features of two stages are combined: a fine one, with a position for each 4 x 4
# pixels, and a coarse one that sees more of the surroundings. The height in the picture
# is a feature too.

HEIGHT, WIDTH = 96, 160  # positions
SIDE = 4 * HEIGHT
picture = picture[:SIDE, : 4 * WIDTH]
squares = [picture[:, :SIDE], picture[:, -SIDE:]]


def dense(stage):
    """Return a map with one vector per position."""
    features = PretrainedFeatures(
        "pocket", layers=stage, pool="flatten", image_size=SIDE
    )
    rows = features.fit_transform(squares)
    channels = dict(zip(features.info_.stages, features.info_.widths, strict=True))[
        stage
    ]
    side = round((rows.shape[1] / channels) ** 0.5)
    maps = rows.reshape(2, channels, side, side).transpose(0, 2, 3, 1)
    step = HEIGHT // side
    left, right = maps.repeat(step, axis=1).repeat(step, axis=2)
    # Where the squares overlap, each contributes the half further from its border.
    half = WIDTH // 2
    return np.concatenate([left[:, :half], right[:, half - WIDTH :]], axis=1)


rows = np.linspace(-1, 1, HEIGHT)[:, None, None]
features = np.concatenate(
    [dense("stage2"), dense("stage3"), np.broadcast_to(rows, (HEIGHT, WIDTH, 1))],
    axis=2,
)
print(features.shape, "positions, each with its vector")

# %%
# A few strokes, in units of positions.

names = ["sky", "building", "trees", "water"]
strokes = np.full((HEIGHT, WIDTH), -1)
for label, (top, bottom, left, right) in [
    (0, (2, 5, 4, 44)),
    (0, (10, 34, 10, 14)),
    (0, (6, 44, 126, 130)),
    (0, (38, 44, 90, 110)),
    (1, (23, 29, 40, 64)),
    (1, (35, 38, 32, 70)),
    (1, (49, 56, 28, 78)),
    (1, (65, 68, 24, 86)),
    (1, (74, 80, 26, 80)),
    (2, (52, 60, 2, 12)),
    (2, (84, 94, 102, 132)),
    (2, (50, 86, 144, 152)),
    (2, (88, 94, 4, 40)),
    (3, (60, 64, 92, 130)),
    (3, (70, 74, 94, 116)),
    (3, (73, 77, 4, 18)),
]:
    strokes[top:bottom, left:right] = label

labelled = strokes >= 0
model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
model.fit(features[labelled], strokes[labelled])
regions = model.predict(features.reshape(-1, features.shape[2])).reshape(strokes.shape)
print(f"{labelled.mean():.0%} of the positions were labelled")

# %%
colours = np.array(
    [[0.45, 0.72, 0.95], [0.9, 0.4, 0.17], [0.2, 0.6, 0.25], [0.15, 0.3, 0.7]]
)


def paint(labels):
    """Paint the labels over the picture."""
    large = labels.repeat(4, axis=0).repeat(4, axis=1)
    grey = np.repeat(picture.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    return np.where(
        (large >= 0)[..., None], 0.45 * grey + 0.55 * colours[large], picture / 255
    )


fig, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for ax, labels, title in (
    (axes[0], strokes, "strokes"),
    (axes[1], regions, "prediction"),
):
    ax.imshow(paint(labels))
    ax.set_title(title)
    ax.axis("off")
handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in colours]
fig.legend(handles, names, loc="lower center", ncols=4, frameon=False)
fig.subplots_adjust(left=0.01, right=0.99, bottom=0.1, wspace=0.03)

# %%
# The result is rough, with only a few strokes and a small network: the borders are only
# as fine as the map, four pixels. A larger network knows more kinds of surfaces, with
# the same code.
