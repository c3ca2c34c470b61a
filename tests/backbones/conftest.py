"""Files of weights, made here."""

import pytest
import torch
from torchvision.models import squeezenet1_1

from sktl.backbones._build import build_random
from sktl.backbones._loaded import LOADED


@pytest.fixture(scope="session")
def squeezenet():
    """Return torchvision's SqueezeNet 1.1 with random weights."""
    return build_random(squeezenet1_1, 3).eval()


@pytest.fixture(scope="session")
def images():
    """Return two normalised images of noise, 64 px."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def expected(squeezenet, images):
    """Return the embeddings of ``images``, computed by hand."""
    with torch.inference_mode():
        return squeezenet.features(images).mean((2, 3))


@pytest.fixture(autouse=True)
def empty_cache():
    """Let every test load its networks itself."""
    LOADED.reset()


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Let every download fail, and torch's folder be empty."""
    from urllib.error import URLError

    from sktl.backbones import _download

    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(_download.urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"
