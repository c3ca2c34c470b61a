"""Loading: random weights from a seed, one shared and bounded cache, stages."""

import copy
import os
import pickle
import threading
import time

import numpy as np
import pytest
import torch
from torch import fx, nn

from sktl.backbones import _loading, get_backbone, resolve
from sktl.backbones._loading import forget_networks, load_once
from sktl.exceptions import StageNotFoundError

SMALL = "squeezenet1_1"


def weights_of(network):
    return torch.cat([p.flatten() for p in network.parameters()])


def test_random_weights_follow_the_seed():
    first = resolve(SMALL, weights=None, random_state=0)
    again = resolve(SMALL, weights=None, random_state=0)
    other = resolve(SMALL, weights=None, random_state=1)
    assert first == again
    assert first.fingerprint != other.fingerprint
    a = weights_of(first.load())
    forget_networks()
    assert torch.equal(a, weights_of(again.load()))
    assert not torch.equal(a, weights_of(other.load()))


def test_random_state_is_read_as_scikit_learn_reads_it():
    def fingerprint(random_state):
        return resolve(SMALL, weights=None, random_state=random_state).fingerprint

    assert fingerprint(np.int64(3)) == fingerprint(3)
    state = np.random.RandomState(0)
    first = fingerprint(state)
    assert first == fingerprint(np.random.RandomState(0))
    assert first != fingerprint(state)
    assert fingerprint(None) != fingerprint(None)
    assert resolve("lenet5", random_state=0) == resolve("lenet5", random_state=1)
    for wrong in ("seed", -1, 0.5):
        with pytest.raises(ValueError, match="random_state"):
            fingerprint(wrong)


def test_global_random_states_are_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for random_state in (None, 0):
        resolve(SMALL, weights=None, random_state=random_state).load()
    resolve("lenet5").load()
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_a_loaded_network_is_frozen_and_shared():
    reference = resolve("lenet5")
    network = reference.load()
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert {t.dtype for t in network.parameters()} == {torch.float32}
    assert resolve("lenet5").load() is network
    assert pickle.loads(pickle.dumps(reference)).load() is network


class Fake(nn.Module):
    """A network of a given number of bytes."""

    def __init__(self, n_bytes):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_bytes // 4))


@pytest.fixture
def small_cache(monkeypatch):
    """Let this process keep 1,000 bytes of weights."""
    monkeypatch.setattr(_loading, "MAX_BYTES", 1000)
    forget_networks()
    yield
    monkeypatch.undo()
    forget_networks()


def test_the_cache_forgets_what_was_used_longest_ago(small_cache):
    loads = []

    def use(key, n_bytes=400):
        def load():
            loads.append(key)
            return Fake(n_bytes)

        return load_once(key, load)

    use("a"), use("b"), use("a"), use("c")
    assert loads == ["a", "b", "c"]
    use("a"), use("b")
    assert loads == ["a", "b", "c", "b"]
    assert use("huge", 8000) is use("huge")
    use("b")
    assert loads == ["a", "b", "c", "b", "huge", "b"]


def test_threads_load_a_network_once():
    loads, barrier = [], threading.Barrier(4)

    def load():
        loads.append(1)
        time.sleep(0.05)
        return Fake(4)

    def use():
        barrier.wait()
        found.append(load_once("a", load))

    found = []
    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert all(network is found[0] for network in found)


def test_a_network_in_memory_does_not_wait_for_another_to_load():
    network, found = load_once("a", lambda: Fake(4)), []

    def load():
        # Another thread, since the lock lets its own thread through.
        thread = threading.Thread(target=lambda: found.append(load_once("a", None)))
        thread.start()
        thread.join(timeout=10)
        return Fake(4)

    load_once("b", load)
    assert found == [network]


def test_a_failed_load_is_tried_again():
    def fail():
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        load_once("a", fail)
    assert isinstance(load_once("a", lambda: Fake(4)), Fake)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_during_a_load_can_load():
    def load():
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            thread = threading.Thread(target=lambda: load_once("b", lambda: Fake(4)))
            thread.start()
            thread.join(timeout=10)
            os._exit(thread.is_alive())
        assert os.waitpid(child, 0)[1] == 0
        return Fake(4)

    load_once("a", load)


@pytest.mark.parametrize("name", [SMALL, "swin_t", "vit_b_32"])
def test_any_stretch_of_stages_can_be_run(name):
    network = resolve(name, weights=None, random_state=0).load()
    side = 224 if name.startswith("vit") else 64
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        embedding = network(x)
        for stage in network.stages:
            there = network.run(x, upto=stage)
            rest = network.run(there, after=stage)
            assert torch.allclose(network.flat(rest), embedding, atol=1e-6)
    assert torch.equal(network.run(x, after="pool"), x)


def test_unknown_and_reversed_stages_are_errors():
    network = resolve(SMALL, weights=None, random_state=0).load()
    x = torch.zeros(1, 3, 64, 64)
    with pytest.raises(StageNotFoundError, match=r"no stage 'stage9'.*'stem'"):
        network.run(x, upto="stage9")
    with pytest.raises(StageNotFoundError, match="No stages run"):
        network.run(x, after="pool", upto="stem")


def test_maps_have_their_channels_first():
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for name, stage, shape in [
        ("swin_t", "stage2", (1, 192, 28, 28)),
        ("vit_b_32", "stage2", (1, 768, 7, 7)),
        (SMALL, "stage2", (1, 256, 13, 13)),
        (SMALL, "pool", (1, 512)),
    ]:
        network = resolve(name, weights=None, random_state=0).load()
        with torch.inference_mode():
            assert network.as_map(network.run(x, upto=stage)).shape == shape


def test_tokens_go_back_to_their_places():
    network = resolve("vit_b_32", weights=None, random_state=0).load()
    tokens = torch.arange(2 * 7 * 3.0).view(1, 14, 3)
    assert network.as_map(tokens).shape == (1, 3, 13, 1)
    grid = network.as_map(tokens[:, :10])
    assert grid.shape == (1, 3, 3, 3)
    assert torch.equal(grid[0, :, 1, 2], tokens[0, 1 + 5])


@pytest.mark.parametrize("name", [SMALL, "resnet18", "lenet5"])
def test_stages_can_be_copied_pickled_and_traced(name):
    info = get_backbone(name)
    network = resolve(name, weights=None, random_state=0).load()
    x = torch.randn(
        1, info.recipe.channels, 64, 64, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        expected = network(x)
        for twin in (
            copy.deepcopy(network),
            pickle.loads(pickle.dumps(network)),
            fx.symbolic_trace(network),
        ):
            assert torch.equal(twin(x), expected)
    twin = copy.deepcopy(network)
    next(twin.parameters()).add_(1)
    assert torch.equal(network(x), expected)
