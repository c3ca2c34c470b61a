"""
The same or not? Verification by distance
=========================================

A face can unlock a phone although no classifier was ever trained on it, because its
embedding is *near* the stored one. Verification means deciding whether two images show
the same thing, even a thing that was unknown during training. scikit-learn
includes no photographs of people, so this page verifies scanned digits first, and then
faces, if they are already on this machine.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import fetch_olivetti_faces, load_digits
from sklearn.metrics import RocCurveDisplay, roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from sktl import PretrainedFeatures

# %%
# Distance
# --------
#
# Embeddings are scaled and normalised to length one, so the distance between two images
# is that of two points on a sphere. Only the scale is fitted.


def by_distance(features):
    return make_pipeline(features, StandardScaler(), Normalizer())


def pairs_of(y, n, seed):
    """Draw ``n`` pairs of the same class, and ``n`` of different classes."""
    first, second = np.random.default_rng(seed).integers(0, len(y), (2, 50 * n))
    same = (y[first] == y[second]) & (first != second)
    drawn = np.r_[np.flatnonzero(same)[:n], np.flatnonzero(y[first] != y[second])[:n]]
    return first[drawn], second[drawn], same[drawn]


def distances(model, X, pairs):
    points = model.transform(X)
    return np.linalg.norm(points[pairs[0]] - points[pairs[1]], axis=1)


# %%
# Six digits to prepare, four to verify
# -------------------------------------
#
# Scale and threshold come from images of 0 to 5. The test pairs are images of 6 to 9.
# Four models compete: bare pixels; ``pocket``, which was trained on photographs and has
# never seen writing; and ``lenet5``, untrained and trained on MNIST. Note that MNIST
# has all ten digits: the test classes are new to the *threshold*, but not to this
# network. For a network trained on faces, strangers are harder.

X, y = load_digits(return_X_y=True)
known = y <= 5
X_new, y_new = X[~known], y[~known]
models = {
    "lenet5": by_distance(PretrainedFeatures("lenet5")),
    "pixels": by_distance(FunctionTransformer()),
    "pocket": by_distance(PretrainedFeatures("pocket")),
    "lenet5, untrained": by_distance(
        PretrainedFeatures("lenet5", weights=None, random_state=0)
    ),
}
for model in models.values():
    model.fit(X[known])

pairs = pairs_of(y_new, 1000, seed=0)
apart = {name: distances(model, X_new, pairs) for name, model in models.items()}

fig, ax = plt.subplots(figsize=(6, 4.5))
ax.set_prop_cycle(color=["#1f5f99", "0.5", "#d9652b", "#7fb2d9"])
for name in models:
    # The smaller the distance, the more likely they are the same.
    RocCurveDisplay.from_predictions(pairs[2], -apart[name], name=name, ax=ax)
ax.set(
    title="Is this the same digit? Pairs of 6 to 9",
    xlabel="different pairs accepted",
    ylabel="same pairs accepted",
    aspect="auto",
)
fig.tight_layout()

# %%
# What was learned from writing carries over to other writing. What was learned from
# photographs does not: for aligned scans, the distance between pixels is better. Here
# as everywhere, a network is only as good as its training images.
#
# A threshold
# -----------
#
# An application has to say yes or no. The threshold is set where both kinds of error
# are equally frequent among pairs of the *known* digits, and then used on the new ones.

ruler = models["lenet5"]
known_pairs = pairs_of(y[known], 1000, seed=1)
false, true, thresholds = roc_curve(
    known_pairs[2], -distances(ruler, X[known], known_pairs)
)
threshold = -thresholds[np.argmin(np.abs(false - (1 - true)))]
accepted = apart["lenet5"] < threshold
for said, kind in ((True, "the same"), (False, "different")):
    right = (accepted == said)[pairs[2] == said].mean()
    print(f"pairs that are {kind}: {right:.1%} right")

# %%
# The two kinds of error are no longer equally frequent: new classes may be closer
# together than those that set the threshold. So set it on things like those you expect,
# and report both errors. These are the worst pairs of each kind:

fig, axes = plt.subplots(2, 6, figsize=(9, 3.2))
for row, said in zip(axes, (True, False), strict=True):
    of_kind = np.flatnonzero(pairs[2] == said)
    order = np.argsort(apart["lenet5"][of_kind])
    worst = of_kind[order[::-1] if said else order][:6]
    for ax, pair in zip(row, worst, strict=True):
        one, other = (X_new[side[pair]].reshape(8, 8) for side in pairs[:2])
        ax.imshow(np.hstack([one, np.full((8, 1), np.nan), other]), cmap="gray")
        ax.axis("off")
        wrong = accepted[pair] != said
        ax.set_title(
            f"{apart['lenet5'][pair]:.2f}{', wrong' if wrong else ''}",
            fontsize=10,
            color="#b3361b" if wrong else "black",
        )
for row, kind in zip(axes, ("the same", "different"), strict=True):
    row[0].text(-0.25, 1.6, kind, transform=row[0].transAxes, weight="bold")
fig.subplots_adjust(left=0.06, right=0.99, top=0.82, bottom=0.02, hspace=0.5)

# %%
# Faces
# -----
#
# The same code verifies people. ``fetch_olivetti_faces()`` downloads 400 portraits of
# 40 people once. If it has never run on the machine that builds this page, this part
# says so and plots nothing. Half of the people set the scale; the others are strangers.

try:
    faces = fetch_olivetti_faces(download_if_missing=False)
except OSError:
    faces = None
    print("The Olivetti faces are not on this machine: fetch_olivetti_faces()")

if faces is not None:
    strangers = faces.target >= 20
    pairs = pairs_of(faces.target[strangers], 900, seed=0)
    fig, ax = plt.subplots(figsize=(6, 4.5))
    for name, features in (
        ("pocket", PretrainedFeatures("pocket")),
        ("pixels", FunctionTransformer()),
    ):
        model = by_distance(features).fit(faces.data[~strangers])
        RocCurveDisplay.from_predictions(
            pairs[2],
            -distances(model, faces.data[strangers], pairs),
            name=name,
            ax=ax,
        )
    ax.set(title="Is this the same person? Pairs of 20 strangers", aspect="auto")
    fig.tight_layout()

# %%
# To verify real people, use a network that was trained on faces, from a file or as a
# module of your own (:doc:`/guide/extending`). Test it on people that it has never
# seen, from every group that will use it: verification fails for some groups more often
# than for others, and an average hides that.
