"""Frozen means parameters, BatchNorm statistics and dropout."""

import pytest
import torch
from skorch.callbacks import Callback

from sktl import FineTunedClassifier
from sktl.backbones import resolve
from sktl.engine import images_embedded
from sktl.exceptions import StageNotFoundError
from sktl.finetune._cut import cut_at
from sktl.finetune._training import opening_epochs
from sktl.images import ImageRows

# The smallest of each family, at a size that it can still halve five times.
FAMILIES = {
    "resnet18": 64,
    "squeezenet1_1": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "shufflenet_v2_x0_5": 64,
    "mnasnet0_5": 64,
    "efficientnet_b0": 64,
    "googlenet": 64,
    "densenet121": 64,
    "regnet_y_400mf": 64,
    "zfnet": 96,
}
SLOW_FAMILIES = {
    "alexnet": 96,
    "vgg11": 64,
    "resnext50_32x4d": 64,
    "inception_v3": 96,
    "convnext_tiny": 64,
    "swin_t": 64,
    "efficientnet_v2_s": 64,
    "vit_b_16": 224,
    "maxvit_t": 224,
}


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(before, module):
    after = module.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture
def few(stripes):
    X, y = stripes
    return X[:6], y[:6]


def tuned(name, **params):
    size = {**FAMILIES, **SLOW_FAMILIES}.get(name)
    defaults = {"weights": None, "image_size": size, "max_epochs": 1, "augment": "none"}
    return FineTunedClassifier(name, random_state=0, **{**defaults, **params})


@pytest.mark.parametrize(
    "name",
    [*FAMILIES, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW_FAMILIES)],
)
def test_frozen_stages_keep_weights_statistics_and_dropout(name, few):
    # One stage in the middle is trained: what lies before it is frozen before the
    # cut, what lies after it is frozen behind the cut. Large steps, and weight decay,
    # which must not touch frozen weights either.
    X, y = few
    middle = "fc6" if name in ("alexnet", "vgg11", "zfnet") else "stage3"
    net = tuned(name, unfreeze=[middle], lr=1e-2, optimizer__weight_decay=0.1)
    network = resolve(name, weights=None, random_state=0).load()
    before = state_of(network)
    net.fit(X, y)
    assert not moved(before, network)
    for stage, module in net.module_.stages.items():
        assert bool(moved(state_of(network.stages[stage]), module)) is (stage == middle)
    frozen = set(net.cut_.behind) - set(net.cut_.trained)
    assert frozen
    for stage in frozen:
        assert_same_in_training(net, network, stage, X)


def assert_same_in_training(net, network, stage, X):
    """Check that training mode changes nothing in what a frozen stage returns."""
    images = ImageRows.of(X)
    batch = torch.stack(
        [images.prepare(i, net.embedding_part_.recipe) for i in range(2)]
    )
    names = net.backbone_.info.stages
    with torch.no_grad():
        x = net.embedding_part_.recipe.normalise(batch)
        x = network.run(x, upto=names[names.index(stage) - 1])
        module = net.module_.eval().stages[stage]
        expected = module(x.clone())
        net._set_training(True)
        assert torch.equal(module(x.clone()), expected)
    assert not moved(state_of(network.stages[stage]), module)


def test_unfrozen_stages_train_with_dropout(few):
    X, y = few
    net = tuned("efficientnet_b0", unfreeze=["stage7"], max_epochs=0).fit(X, y)
    net.module_.train()
    modes = {
        type(part).__name__: part.training
        for part in net.module_.stages["stage7"].modules()
    }
    assert modes["StochasticDepth"]


@pytest.mark.parametrize(("weights", "keeps"), [("default", True), (None, False)])
def test_statistics_of_trained_stages_stay_those_of_pretraining(weights, keeps, few):
    X, y = few
    net = tuned("lenet5", weights=weights, image_size=None, unfreeze="all").fit(X, y)
    before = resolve("lenet5", weights, 0).load().state_dict()
    after = net.module_.state_dict()
    assert (
        torch.equal(
            before["stages.stem.1.running_mean"], after["stages.stem.1.running_mean"]
        )
        is keeps
    )
    assert not torch.equal(
        before["stages.stem.0.weight"], after["stages.stem.0.weight"]
    )


@pytest.mark.parametrize(
    ("unfreeze", "after", "trained"),
    [
        ("head", "fc6", ()),
        (0, "fc6", ()),
        (1, "stage2", ("fc6",)),
        (2, "stage1", ("stage2", "fc6")),
        ("all", None, ("stem", "stage1", "stage2", "fc6")),
        ("stage*", "stem", ("stage1", "stage2")),
        (["fc6", "stage1"], "stem", ("stage1", "fc6")),
        ("stem", None, ("stem",)),
    ],
)
def test_unfreeze_says_where_to_cut(unfreeze, after, trained, few):
    X, y = few
    net = tuned("lenet5", unfreeze=unfreeze, image_size=None, max_epochs=0).fit(X, y)
    assert net.cut_.after == after
    assert net.cut_.trained == trained
    learning = net.module_.named_parameters()
    names = {name for name, parameter in learning if parameter.requires_grad}
    stages = {name.split(".")[1] for name in names if name.startswith("stages")}
    assert stages == set(trained)


def test_pooling_stages_do_not_count():
    cut = cut_at(1, resolve("resnet18", weights=None, random_state=0))
    assert (cut.after, cut.trained) == ("stage3", ("stage4",))
    assert cut.behind == ("stage4", "pool")


@pytest.mark.parametrize("unfreeze", [99, "no_such", ["stem", "typo*"], "pool", []])
def test_unfreezing_nothing_that_exists_is_an_error(unfreeze, few):
    X, y = few
    net = tuned("squeezenet1_1", unfreeze=unfreeze)
    computed = images_embedded()
    with pytest.raises(StageNotFoundError, match="unfreeze"):
        net.fit(X, y)
    assert images_embedded() == computed


def test_gradual_opens_one_stage_per_epoch(few):
    X, y = few
    learning, moving = [], []

    class Watch(Callback):
        def on_epoch_begin(self, net, **kwargs):
            self.before = {n: state_of(s) for n, s in net.module_.stages.items()}

        def on_epoch_end(self, net, **kwargs):
            stages = net.module_.stages
            moving.append(sorted(n for n in stages if moved(self.before[n], stages[n])))

        def on_batch_begin(self, net, training=False, **kwargs):
            if training:
                open_ = {n for n in net.module_.stages if n in net.module_.open}
                modes = {n for n, s in net.module_.stages.items() if s.training}
                assert open_ == modes
                learning.append(sorted(open_))

    tuned(
        "lenet5",
        unfreeze=2,
        image_size=None,
        gradual=True,
        max_epochs=4,
        callbacks=[Watch()],
    ).fit(X, y)
    both = ["fc6", "stage2"]
    assert learning == moving == [[], ["fc6"], both, both]


@pytest.mark.parametrize(
    ("n_stages", "max_epochs", "starts"),
    [(2, 20, [1, 2]), (3, 6, [1, 2, 3]), (4, 4, [0, 1, 1, 2]), (0, 5, [])],
)
def test_gradual_opens_everything_in_the_first_half(n_stages, max_epochs, starts):
    assert opening_epochs(n_stages, max_epochs) == starts
