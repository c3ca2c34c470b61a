"""Top-1 and top-5 accuracy of EfficientNet-Lite on sample images of ImageNet.

The classifier in the weights file reads the embeddings that sktl computes, so a wrong
weight or a wrong preparation of the images would show. Needs the folder named by
``SKTL_TEST_DATA`` (``imagenet_samples/<class>_<wnid>_<name>.jpg``).

Run with: python benchmarks/imagenet_samples.py
"""

import os
from pathlib import Path

import numpy as np
import torch
from _frame import write_table

from sktl import PretrainedFeatures
from sktl.backbones import resolve


def main():
    """Measure each network, print a table, write the JSON."""
    folder = Path(os.environ["SKTL_TEST_DATA"]) / "imagenet_samples"
    paths = sorted(map(str, folder.glob("*.jpg")))
    y = np.array([int(Path(path).name.split("_")[0]) for path in paths])
    table = []
    for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        embeddings = PretrainedFeatures(name).fit_transform(paths)
        state = torch.load(resolve(name).weights.locate(), weights_only=True)
        scores = embeddings @ state["_fc.weight"].numpy().T + state["_fc.bias"].numpy()
        best = np.argsort(-scores, axis=1)[:, :5] == y[:, None]
        table.append(
            {
                "backbone": name,
                "images": len(y),
                "top1": round(100 * best[:, 0].mean(), 1),
                "top5": round(100 * best.any(axis=1).mean(), 1),
            }
        )
        print(table[-1])
    write_table("imagenet_samples", table, ("sktl", "torch", "pillow"))


if __name__ == "__main__":
    main()
