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
