"""
What a segmentation trunk keeps: positions
==========================================

Networks that find and outline objects are built on a *trunk*, often the same ResNet
that is used for classification. The trunk is a backbone like any other:
``"fasterrcnn_resnet50_fpn"``, ``"deeplabv3_resnet50"``. When is it the better feature
extractor? Part of the answer is in the architecture, before any training: how many
positions of the image can it still tell apart at the end?
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_sample_images

import sktl
from sktl import PretrainedFeatures

# %%
# These are the trunks, by the task that their published weights were trained for:

for task in ("detection", "segmentation"):
    print(task, *sktl.list_backbones(task=task), sep="\n   ")

# %%
# **This page uses random weights.** The published weights of these networks have to be
# downloaded, and this page is built offline. ``weights=None`` fills the network with
# random numbers: names, sizes and costs are real, but what the maps *show* is not.
# Leave ``weights`` out to get the weights trained on COCO, or pass the path of a file.

SIDE = 224
picture = load_sample_images().images[0][:, 100:527]  # china.jpg, 427 x 427 pixels


def map_of(name, stage):
    """Return the map of a stage for the picture: channels, rows, columns."""
    features = PretrainedFeatures(
        name,
        weights=None,
        layers=stage,
        pool="flatten",
        image_size=SIDE,
        random_state=0,
    )
    row = features.fit_transform([picture])
    info = features.info_
    channels = info.widths[info.stages.index(stage)]
    side = round((row.size / channels) ** 0.5)
    return row.reshape(channels, side, side)


# %%
# A classifier halves its map at each stage, because in the end it needs one answer for
# the whole image. A segmentation trunk cannot afford that. Instead of the last
# reductions it spreads its filters (dilation), which see as far without losing
# positions. The trunk of a detector is a classifier with other weights; maps of several
# sizes are added after it.

names = {
    "resnet50": "classification",
    "fasterrcnn_resnet50_fpn": "detection",
    "deeplabv3_resnet50": "segmentation",
}
stages = ["stage1", "stage2", "stage3", "stage4"]
maps = {name: [map_of(name, stage) for stage in stages] for name in names}

print(f"{'':25}{'positions, stage by stage':34}embedding   G mult-adds")
for name in names:
    sides = " ".join(f"{f'{m.shape[1]} x {m.shape[2]}':8}" for m in maps[name])
    info = sktl.get_backbone(name)
    cost = info.gflops * (SIDE / info.recipe.size[0]) ** 2
    print(f"{name:25}{sides:36}{info.n_features:7}{cost:12.0f}")

# %%
# The picture, the number of parameters and the length of the embedding are the same,
# but keeping positions needs almost five times the multiplications. The maps show how
# much each position responds, as the mean over channels.

fig, axes = plt.subplots(len(names), 5, figsize=(9, 5.6))
for row, (name, task) in zip(axes, names.items(), strict=True):
    row[0].imshow(picture)
    row[0].set_ylabel(f"{name.split('_')[0]}\n({task})")
    for ax, activation in zip(row[1:], maps[name], strict=True):
        ax.imshow(activation.mean(axis=0))
for ax, stage in zip(axes[0, 1:], stages, strict=True):
    ax.set_title(stage)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
fig.suptitle("Random weights: how fine the maps are, not what they mean")
fig.tight_layout()

# %%
# So use a segmentation trunk if you need positions, as in
# :doc:`/auto_examples/plot_rough_segmentation`, and a classifier if you need one vector
# for the whole image. The trunks of detectors have learned that an image contains
# *several* things of different sizes, which may suit streets, shelves and rooms.
# :func:`~sktl.model_selection.rank_backbones` finds out which is best for your images:
#
# .. code-block:: python
#
#     from sktl.model_selection import rank_backbones
#
#     trunks = ["resnet50", "fasterrcnn_resnet50_fpn", "deeplabv3_resnet50"]
#     rank_backbones(X, y, trunks)
#
# With the maximum over positions, a small object is not averaged away:
#
# .. code-block:: python
#
#     PretrainedFeatures("deeplabv3_resnet50", layers="stage4", pool="max")
