"""Networks of the user's own: instances, callables, stages named or found."""

import copy
import pickle

import pytest
import torch
import torchvision
from sklearn.base import clone
from torch import nn
from torch.nn.functional import max_pool2d, relu

from sktl.backbones import StagedNetwork, _user_modules, resolve
from sktl.backbones._loading import build_random, forget_networks
from sktl.backbones._stage_finder import find_plan
from sktl.exceptions import WeightsMismatchError, WeightsUnavailableError


class Functional(nn.Module):
    """Writes as functions what others write as modules."""

    scale = 1.0

    def __init__(self, in_place=False):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3)
        self.bn = nn.BatchNorm2d(16)
        self.c3 = nn.Conv2d(16, 32, 3)
        self.f1, self.f2 = nn.Linear(32, 20), nn.Linear(20, 5)
        self.in_place = in_place

    def embed(self, x):
        x = max_pool2d(relu(self.c1(x), self.in_place), 2)
        x = max_pool2d(relu(self.bn(self.c2(x)), self.in_place), 2)
        x = relu(self.c3(x), self.in_place).mean((2, 3))
        return relu(self.f1(x))

    def forward(self, x):
        return self.f2(self.embed(x))


class Tangled(nn.Module):
    """Has two branches, so that no child takes what the one before it returns."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(3, 8, 3),
            nn.Linear(8, 2),
        )

    def embed(self, x):
        return (self.a(x) * torch.sigmoid(self.b(x))).sum((2, 3))

    def forward(self, x):
        return self.fc(self.embed(x))


class Tokens(nn.Module):
    """Adds a parameter of its own in front of its blocks."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 32, 32)
        self.places = nn.Parameter(torch.randn(1, 49, 16))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16)) for _ in range(3)
        )
        self.head = nn.Linear(16, 4)

    def embed(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x)
        return x.mean(1)

    def forward(self, x):
        return self.head(self.embed(x))


class Wrapped(nn.Module):
    """Holds a whole network and a classifier."""

    def __init__(self):
        super().__init__()
        self.encoder = torchvision.models.squeezenet1_1()
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(1000, 3))

    def embed(self, x):
        return self.encoder(x)

    def forward(self, x):
        return self.head(self.embed(x))


def plain_sequential():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3, 2),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
        nn.Softmax(1),
    )


NETWORKS = {
    Functional: ("stem", "stage1", "stage2", "pool", "fc6"),
    Tangled: ("stage1",),
    Tokens: ("stem", "stage1", "stage2", "stage3", "pool"),
    Wrapped: None,
    plain_sequential: ("stem", "stage1", "pool"),
}


def build(factory):
    """Return a network in evaluation mode whose BatchNorm matters."""
    model = build_random(factory, 1).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(0.3)
            module.running_var.fill_(2)
    return model


@pytest.fixture(scope="module")
def x():
    """Return images at the size of the default recipe."""
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("factory", NETWORKS)
def test_stages_are_found_and_give_the_numbers(factory, x):
    model = build(factory)
    network = resolve(model).load()
    assert NETWORKS[factory] in (None, network.info.stages)
    with torch.inference_mode():
        expected = model[:-2](x) if factory is plain_sequential else model.embed(x)
        embedding = network(x)
    assert embedding.shape == (2, network.info.n_features)
    assert torch.allclose(embedding, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("build_model", "stages"),
    [
        (torchvision.models.resnet18, 6),
        (torchvision.models.mobilenet_v3_small, 8),
        pytest.param(torchvision.models.vgg11, 8, marks=pytest.mark.slow),
        (torchvision.models.shufflenet_v2_x0_5, 6),
    ],
)
def test_stages_found_in_known_networks_are_the_usual_ones(build_model, stages, x):
    model = build(build_model)
    info = resolve(model).info
    assert info.stages[0] == "stem"
    assert "pool" in info.stages
    assert abs(len(info.stages) - stages) <= 1


def test_stages_that_work_in_place_get_a_copy(x):
    model = build(lambda: Functional(in_place=True))
    network = resolve(model).load()
    with torch.inference_mode():
        assert torch.allclose(network(x), model.embed(x), rtol=1e-4, atol=1e-6)
        given = x
        for stage in network.stages.values():
            before = given.clone()
            after = stage(given)
            assert torch.equal(given, before)
            given = after


def test_the_module_is_left_as_it_is():
    model = plain_sequential().train()
    before = copy.deepcopy(model.state_dict())
    network = resolve(model).load()
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert model[1].inplace
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    ids = {id(p) for p in model.parameters()}
    assert not any(id(p) in ids for p in network.parameters())


def test_training_goes_on_without_changing_what_was_resolved(x):
    model = plain_sequential()
    reference = resolve(model)
    forget_networks()
    before = reference.load()(x)
    with torch.no_grad():
        model[0].weight.add_(1)
    forget_networks()
    assert torch.equal(reference.load()(x), before)
    assert resolve(model).fingerprint != reference.fingerprint


def test_clones_have_the_same_fingerprint():
    model = build(plain_sequential)
    reference = resolve(model)
    assert resolve(clone(model, safe=False)) == reference
    assert resolve(pickle.loads(pickle.dumps(model))) == reference
    forget_networks()
    again = pickle.loads(pickle.dumps(reference))
    assert again == reference
    assert isinstance(again.load(), StagedNetwork)


def test_the_fingerprint_sees_weights_settings_and_code():
    class Twin(Functional):
        def embed(self, x):
            return super().embed(x) * 2

    class Again(Functional):
        def embed(self, x):
            return super().embed(x) * 3

    Again.__qualname__ = Twin.__qualname__

    def digest(factory, **settings):
        model = build_random(factory, 0).eval()
        for key, value in settings.items():
            setattr(model, key, value)
        return _user_modules.hash_tensors(model), _user_modules.hash_structure(model)

    assert digest(Functional) == digest(Functional)
    others = [
        digest(Twin),
        digest(Again),
        digest(Functional, in_place=True),
        digest(Functional, bn=nn.BatchNorm2d(16, eps=1e-3)),
    ]
    assert len({digest(Functional), *others}) == 5


def test_the_fingerprint_sees_how_a_network_is_cut(register):
    fingerprints = set()
    for n_prefix_tokens in (0, 1):
        stages = {"stem": "patches", "rows": nn.Flatten(2)}
        register("mine", Tokens, stages=stages, n_prefix_tokens=n_prefix_tokens)
        fingerprints.add(resolve("mine").fingerprint)
    assert len(fingerprints) == 2


def test_a_network_that_counts_its_calls_can_be_used():
    class Counting(nn.Sequential):
        n_calls = 0

        def forward(self, x):
            self.n_calls += 1
            return super().forward(x)

    def build():
        return Counting(nn.Conv2d(3, 4, 3), nn.Flatten())

    reference = resolve(build)
    forget_networks()
    assert reference.load().info.n_features == reference.info.n_features


def test_clones_are_walked_once(monkeypatch):
    model = build(plain_sequential)
    resolve(model)
    monkeypatch.setattr(_user_modules, "find_plan", None)
    resolve(copy.deepcopy(model)).load()


def test_a_callable_is_called_with_a_seed(x):
    reference = resolve(plain_sequential)
    assert resolve(plain_sequential) == reference
    assert resolve(plain_sequential, random_state=1) != reference
    random = resolve(plain_sequential, weights=None, random_state=1)
    assert random.fingerprint.startswith("random:1:")
    forget_networks()
    a, b = reference.load()(x), random.load()(x)
    assert not torch.equal(a, b)
    before = torch.get_rng_state()
    resolve(plain_sequential, weights=None, random_state=2).load()
    assert torch.equal(before, torch.get_rng_state())
    assert len(pickle.dumps(reference)) < 5000


def test_a_callable_that_returns_another_network_is_noticed():
    made = []

    def fickle():
        made.append(1)
        return nn.Sequential(nn.Conv2d(3, 4 + (len(made) > 3), 3), nn.Flatten())

    reference = resolve(fickle)
    forget_networks()
    made += [1, 1, 1]
    with pytest.raises(WeightsMismatchError, match="no longer returns"):
        reference.load()


def test_a_callable_may_use_sktl_itself(x):
    def on_top():
        lower = copy.deepcopy(resolve("squeezenet1_1", None, 0).load())
        return nn.Sequential(lower, nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 2))

    network = resolve(on_top).load()
    assert network.info.n_features == 8
    assert network(x).shape == (2, 8)


def test_a_callable_has_to_return_a_module():
    with pytest.raises(TypeError, match="returned list"):
        resolve(list)


def test_a_network_that_returns_no_tensor_asks_for_stages():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TypeError, match="register_backbone"):
        find_plan(Pair(), torch.zeros(1, 3, 8, 8))


def test_new_weights_are_drawn_for_an_instance():
    model = build(plain_sequential)
    network = resolve(model, weights=None, random_state=0).load()
    assert not torch.equal(network.stages["stem"][0].weight, model[0].weight)
    with pytest.raises(WeightsUnavailableError, match="reset_parameters"):
        resolve(Tokens(), weights=None, random_state=0).load()


def test_weights_come_from_a_file(tmp_path, x):
    model = build(plain_sequential)
    torch.save(
        {"module." + k: v for k, v in model.state_dict().items()}, tmp_path / "w"
    )
    reference = resolve(plain_sequential, weights=tmp_path / "w")
    with torch.inference_mode():
        assert torch.allclose(reference.load()(x), model[:-2](x), rtol=1e-4, atol=1e-6)
    assert reference != resolve(Functional, weights=tmp_path / "w")
    with pytest.raises(WeightsMismatchError, match=r"missing: c1\.weight"):
        resolve(Functional, weights=tmp_path / "w").load()


def test_a_staged_network_keeps_its_stages(x):
    network = resolve("squeezenet1_1", weights=None, random_state=0).load()
    reference = resolve(network)
    assert reference.info.stages == network.info.stages
    assert reference.info.recipe == network.info.recipe
    with torch.inference_mode():
        assert torch.equal(reference.load()(x), network(x))
