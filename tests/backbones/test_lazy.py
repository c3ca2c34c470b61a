"""Names, facts and fingerprints without torch."""

import hashlib
import os
import pickle
import subprocess
import sys

import pytest
import torch

from sktl.backbones import resolve

CODE = """
import pickle, sys
import sktl
from sktl.backbones import resolve
assert len(sktl.list_backbones()) > 90
sktl.get_backbone("vit_b_16")
references = [
    resolve("lenet5"),
    resolve("resnet18", weights={path!r}),
    resolve("squeezenet1_1"),
    resolve("resnet50", weights=None, random_state=0),
]
pickle.loads({pickled!r})
print([reference.fingerprint for reference in references])
heavy = [name for name in ("torch", "torchvision", "timm") if name in sys.modules]
assert not heavy, heavy
"""


def test_fingerprints_need_no_torch(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    pickled = pickle.dumps(resolve("vgg16", weights=path))
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(path=str(path), pickled=pickled)],
        env={**os.environ, "TORCH_HOME": str(tmp_path / "torch")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(path.read_bytes()).hexdigest() in done.stdout
    assert "published:squeezenet1_1-b8a52dc0.pth" in done.stdout


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "fasterrcnn_resnet50_fpn"])
def test_a_reference_pickles_to_itself_in_a_few_kilobytes(name):
    reference = resolve(name, weights=None, random_state=0)
    pickled = pickle.dumps(reference)
    assert len(pickled) < 4000
    assert pickle.loads(pickled) == reference
