"""Folding changes no number, and stays away where it would."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sktl.engine._folding import folded


class Block(nn.Module):
    """A convolution and a norm, used in one of several ways."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.conv = nn.Conv2d(3, 6, 3, bias=way == "bias")
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x):
        y = self.conv(x)
        if self.way == "relu between":
            y = functional.relu(y, inplace=True)
        if self.way == "reused":
            return self.norm(y) + y
        if self.way == "twice":
            return self.norm(y) + self.norm(self.conv(-x))
        return self.norm(y)


def make_block(way):
    torch.manual_seed(0)
    block = Block(way).eval()
    block.norm.running_mean.normal_()
    block.norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(block.norm.weight)
    nn.init.normal_(block.norm.bias)
    return block


@pytest.mark.parametrize(
    ("way", "folds"),
    [
        ("plain", True),
        ("bias", True),
        ("relu between", False),
        ("reused", False),
        ("twice", False),
    ],
)
def test_folded_network_gives_the_same_numbers(way, folds):
    with torch.random.fork_rng():
        block = make_block(way)
    x = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)
    with torch.no_grad():
        before = block(x)
        network = folded(block, (1, 3, 8, 8))
        after = network(x)
    assert isinstance(network.norm, nn.Identity) == folds
    assert isinstance(block.norm, nn.BatchNorm2d)  # it is a copy that was folded
    assert torch.allclose(before, after, rtol=1e-5, atol=1e-6)


def test_a_module_that_two_stages_hold_is_folded_in_both():
    with torch.random.fork_rng():
        block = make_block("plain")
    network = nn.Sequential(block, nn.Identity())
    network[1].shared = block
    with torch.no_grad():
        before = network(torch.ones(1, 3, 8, 8))
        copied = folded(network, (1, 3, 8, 8))
        assert torch.allclose(copied(torch.ones(1, 3, 8, 8)), before, atol=1e-6)
    assert isinstance(copied[0].norm, nn.Identity)
    assert isinstance(copied[1].shared.norm, nn.Identity)


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose weight has mean 0 and spread 1."""

    def forward(self, x):
        spread, mean = torch.std_mean(self.weight, (1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / spread, self.bias)


class PaddedConv2d(nn.Conv2d):
    """A convolution that pads its input and keeps its weight."""

    def forward(self, x):
        return super().forward(functional.pad(x, (0, 1, 0, 1)))


@pytest.mark.parametrize("kind", ["standardised", "parametrised"])
def test_a_weight_that_is_transformed_is_not_folded_but_others_are(kind):
    with torch.random.fork_rng():
        network = nn.Sequential(*(make_block("plain") for _ in range(3)))
        network[1].conv = StandardisedConv2d(6, 6, 3)
        network[2].conv = PaddedConv2d(6, 6, 3)
        if kind == "parametrised":
            conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(6, 6, 3))
            network[1].conv = conv
        network.eval()
    x = torch.linspace(-1, 1, 2 * 3 * 12 * 12).view(2, 3, 12, 12)
    with torch.no_grad():
        before = network(x)
        copied = folded(network, (1, 3, 12, 12))
        assert torch.allclose(copied(x), before, rtol=1e-4, atol=1e-5)
    norms = [isinstance(block.norm, nn.BatchNorm2d) for block in copied]
    assert norms == [False, True, False]


def test_training_norms_are_not_folded():
    with torch.random.fork_rng():
        norm = nn.BatchNorm2d(6, track_running_stats=False)
        network = nn.Sequential(nn.Conv2d(3, 6, 3), norm).eval()
    assert isinstance(folded(network, (1, 3, 8, 8))[1], nn.BatchNorm2d)


def test_random_state_is_untouched():
    with torch.random.fork_rng():
        block = make_block("plain")
    state = torch.get_rng_state()
    folded(block, (1, 3, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
