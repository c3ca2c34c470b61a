"""Small stand-ins for rows and backbones, so that the engine is tested alone."""

import hashlib
import threading
from dataclasses import dataclass, replace

import numpy as np

from sktl.engine import FrozenPart
from sktl.exceptions import UnreadableImageError

STAGES = ("stem", "stage1", "pool")
_networks = {}
_networks_lock = threading.Lock()


@dataclass(frozen=True)
class FakeRecipe:
    size: tuple = (16, 16)
    channels: int = 3
    key: str = "16x16"

    def normalise(self, batch):
        import torch

        if batch.dtype == torch.uint8:
            batch = batch.float() / 255
        return (batch - 0.5) / 0.25


class FakeRows:
    """Rows of uint8 images; ``bad`` positions cannot be read."""

    scaled = False

    def __init__(self, images, bad=()):
        self.images = images
        self.bad = set(bad)
        self.prepared = []

    def __len__(self):
        return len(self.images)

    def where(self, i):
        return f"row {i}"

    def fingerprint(self, i):
        return hashlib.blake2b(self.images[i].tobytes(), digest_size=16).digest()

    def prepare(self, i, recipe, value_range=None):
        import torch

        self.prepared.append(i)
        if i in self.bad:
            raise UnreadableImageError(f"{self.where(i)} holds no image")
        return torch.from_numpy(self.images[i].transpose(2, 0, 1).copy())


def make_rows(n, seed=0, bad=()):
    rng = np.random.default_rng(seed)
    return FakeRows(rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8), bad)


@dataclass(frozen=True)
class FakeBackbone:
    name: str = "fake"
    fingerprint: str = "weights-0"
    seed: int = 0
    info: object = None

    def load(self):
        with _networks_lock:
            if self not in _networks:
                _networks[self] = build_network(self.seed)
            return _networks[self]


def build_network(seed):
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleDict(
                {
                    "stem": nn.Sequential(
                        nn.Conv2d(3, 8, 3, padding=1, bias=False),
                        nn.BatchNorm2d(8),
                        nn.ReLU(inplace=True),
                    ),
                    "stage1": nn.Sequential(
                        nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False),
                        nn.BatchNorm2d(12),
                        nn.ReLU(inplace=True),
                    ),
                    "pool": nn.AdaptiveAvgPool2d(1),
                }
            )

        def run(self, x, *, after=None, upto=None):
            names = list(self.stages)
            start = 0 if after is None else names.index(after) + 1
            stop = len(names) if upto is None else names.index(upto) + 1
            for name in names[start:stop]:
                x = self.stages[name](x)
            return x

        def forward(self, x):
            return self.flat(self.run(x))

        def as_map(self, x):
            return x

        def flat(self, x):
            return x.flatten(1)

    generator = torch.Generator().manual_seed(seed)
    network = Network().eval().requires_grad_(False)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return network


def make_part(layers=("pool",), pool="avg", seed=0, **changes):
    backbone = FakeBackbone(fingerprint=f"weights-{seed}", seed=seed)
    part = FrozenPart(backbone, layers, pool, FakeRecipe(), None, "float32", "torch")
    return replace(part, **changes)


def reference(rows, part):
    """What plain torch says, one image at a time."""
    import torch

    network = part.backbone.load()
    out = []
    with torch.no_grad():
        for i in range(len(rows)):
            x = part.recipe.normalise(rows.prepare(i, part.recipe)[None])
            out.append(network(x)[0].numpy())
    return np.stack(out)
