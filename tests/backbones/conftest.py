"""Files of weights, made here."""

import pytest
import torch
from torch import nn
from torchvision.models import squeezenet1_1

import sktl
from sktl.backbones import _registry
from sktl.backbones._loading import (
    build_empty,
    build_random,
    forget_networks,
    freeze,
    is_complete,
)


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
    forget_networks()


@pytest.fixture
def register(monkeypatch):
    """Return ``register_backbone``, whose names are forgotten after the test."""
    monkeypatch.setattr(_registry, "_registered", {})
    return sktl.register_backbone


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Let every download fail, and torch's folder be empty."""
    from urllib.error import URLError

    from sktl.backbones import _weights

    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(_weights.urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture(scope="session")
def with_noise():
    """Return what builds a network with noise in every tensor that counts."""
    return _with_noise


def _with_noise(build):
    # Several times faster than the initialisers of torch, and nothing is 0 or 1, so
    # that a norm in training mode, or one left out, would be seen.
    model = _fill_with_noise(build_empty(build))
    if not is_complete(model):  # masks and tables that the constructor computes
        model = _fill_with_noise(build_random(build, 0))
    return freeze(model)


def _fill_with_noise(model):
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        is_norm = "norm" in type(module).__name__.lower()
        for key, parameter in list(module.named_parameters(recurse=False)):
            value = torch.empty(parameter.shape)
            if is_norm and key == "weight":
                value.uniform_(0.5, 1.5, generator=generator)
            else:
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
                value.normal_(0, max(1, fan_in) ** -0.5, generator=generator)
            setattr(module, key, nn.Parameter(value, requires_grad=False))
        if getattr(module, "running_mean", None) is not None:
            shape = module.running_mean.shape
            module.running_mean = torch.empty(shape).normal_(
                0, 0.3, generator=generator
            )
            module.running_var = torch.empty(shape).uniform_(
                0.5, 2, generator=generator
            )
        if type(module).__name__ == "FrozenBatchNorm2d":
            module.weight = torch.full(module.running_var.shape, 0.9)
            module.bias = torch.full(module.running_var.shape, 0.1)
    return model
