"""Start-up: import, and the first embedding of one image, in fresh processes.

Run with: python benchmarks/startup.py
"""

import os
import subprocess
import sys
import tempfile

from _frame import arguments, host, interleaved, publish

IMAGE = "import numpy as np; X = np.zeros((1, 64, 64, 3), dtype=np.uint8);"
SKTL = (
    IMAGE
    + "from sktl import PretrainedFeatures; PretrainedFeatures({}).fit_transform(X)"
)
CASES = {
    "import sktl": "import sktl",
    "import sklearn.pipeline": "import sklearn.pipeline",
    "import torchvision": "import torchvision",
    "sktl: pocket, one image": SKTL.format(""),
    "sktl: pocket, one image that is stored": SKTL.format("cache='{folder}'"),
    "sktl: resnet18, one image": SKTL.format(
        "'resnet18', weights=None, random_state=0"
    ),
    "torchvision: resnet18, one image": (
        "import torch, torchvision;"
        "network = torchvision.models.resnet18(weights=None).eval();"
        "recipe = torchvision.models.ResNet18_Weights.DEFAULT.transforms();"
        "x = recipe(torch.zeros(1, 3, 64, 64, dtype=torch.uint8));"
        "torch.inference_mode()(network)(x)"
    ),
}


def main():
    """Measure each in fresh processes."""
    args = arguments(__doc__)
    before = host()
    with tempfile.TemporaryDirectory() as folder:

        def run(code):
            subprocess.run(
                [sys.executable, "-c", code.replace("{folder}", folder)],
                check=True,
                env={**os.environ, "SKTL_CACHE_DIR": folder},
            )

        cases = {name: (lambda code=code: run(code)) for name, code in CASES.items()}
        cases = {"python alone": lambda: run("pass"), **cases}
        times = interleaved(cases, args.repeats)
    rows = [{"what": name, "seconds": times[name]} for name in times]
    publish(
        "startup", rows, ["Whole processes, the interpreter included."], args, before
    )


if __name__ == "__main__":
    main()
