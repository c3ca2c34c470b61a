"""Which rows are trained on: splits and samplers of the user's, data sets, workers."""

import functools
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_score
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset as SkorchDataset
from skorch.dataset import ValidSplit
from skorch.helper import SliceDataset, predefined_split
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import v2

from sktl import FineTunedClassifier, FineTunedRegressor
from sktl.engine import images_embedded
from sktl.exceptions import ImageInputError
from sktl.images import ImageRows


@pytest.fixture(scope="module")
def digits(digits):
    X, y = digits
    return X[:100], y[:100]


class Watch(Callback):
    """Keep what each epoch is trained on."""

    def __init__(self):
        self.epochs = []

    def on_epoch_begin(self, net, **kwargs):
        self.epochs.append(([], []))

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        if training:
            x, y = batch
            x = x["x"] if isinstance(x, dict) else x
            self.epochs[-1][0].append(x.numpy())
            self.epochs[-1][1].append(y.numpy())

    def inputs(self):
        return [np.concatenate(x) for x, _ in self.epochs]

    def targets(self):
        return [np.concatenate(y) for _, y in self.epochs]


def prints(rows):
    return {rows.images.fingerprint(i) for i in range(len(rows))}


@pytest.mark.parametrize("repeated", [0, 20])
def test_split_of_the_user_holds_out_the_rows_it_names(
    digits, sides, repeated, classifier
):
    X, y = digits
    X, y = np.concatenate([X, X[:repeated]]), np.concatenate([y, y[:repeated]])
    fold = np.full(len(y), -1)
    fold[[3, 30, 50]] = 0
    classifier(train_split=ValidSplit(PredefinedSplit(fold))).fit(X, y)
    train, valid = sides[0]
    assert sorted(valid.y) == sorted(y[[3, 30, 50]])
    wanted = np.asarray(valid.images[0]).tobytes()
    assert wanted in {X[i].tobytes() for i in (3, 30, 50)}
    assert train.counts.sum() == len(y) - 3


def test_split_of_the_user_sees_the_labels(digits, classifier):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    seen = []

    def split(data, labels, **kwargs):
        seen.append(labels)
        return Subset(data, range(50)), Subset(data, range(50, 100))

    classifier(train_split=split, max_epochs=1).fit(X, names)
    np.testing.assert_array_equal(seen[0], names)


def test_two_ratings_of_an_image_stay_on_one_side(digits, sides):
    X, y = digits
    net = FineTunedRegressor(
        "lenet5", early_stopping=True, validation_fraction=0.3, max_epochs=1
    )
    net.fit(np.concatenate([X, X]), np.concatenate([y, y + 0.5]))
    train, valid = sides[0]
    assert len(train) + len(valid) == 200
    assert not prints(train) & prints(valid)


def test_rows_without_weight_are_not_watched(digits, sides, classifier):
    X, y = digits
    weight = (np.arange(100) < 60).astype(float)
    classifier(early_stopping=True).fit(X, y, sample_weight=weight)
    train, valid = sides[0]
    assert (valid.weight > 0).all()
    assert len(train) + len(valid) == 60


def test_a_part_without_weight_is_an_error(digits, classifier):
    X, y = digits
    fold = np.where(np.arange(100) < 60, -1, 0)
    net = classifier(train_split=ValidSplit(PredefinedSplit(fold)))
    with pytest.raises(ValueError, match="have weight 0"):
        net.fit(X, y, sample_weight=(fold == -1).astype(float))


def test_nested_parts_are_parts_of_the_images(digits, sides, classifier):
    X, y = digits

    def split(data, y, **kwargs):
        half = Subset(data, range(50, 100))
        return Subset(half, range(10, 50)), Subset(half, range(10))

    classifier(train_split=split, max_epochs=1).fit(X, y)
    train, valid = sides[0]
    assert sorted(train.y) == sorted(y[60:])
    assert sorted(valid.y) == sorted(y[50:60])


def test_iterator_may_look_at_the_targets(digits, classifier):
    X, y = digits

    class Balanced(DataLoader):
        def __init__(self, dataset, **kwargs):
            assert sorted(dataset.y.tolist()) == sorted(y)
            super().__init__(dataset, **kwargs)

    classifier(iterator_train=Balanced, max_epochs=1).fit(X, y)


def test_loss_may_compare_rows(digits, classifier):
    X, y = digits

    class Pairs(torch.nn.CrossEntropyLoss):
        def forward(self, outputs, targets):
            if len(outputs) < 2:
                raise ValueError("two rows, please")
            return super().forward(outputs, targets)

    classifier(criterion=Pairs, batch_size=25, max_epochs=1).fit(X, y)


class Images(Dataset):
    """A data set of torch, of images alone."""

    def __init__(self, X):
        self.images = X

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], 0


@pytest.mark.parametrize("unfreeze", [1, "all"])
def test_data_sets_are_images_or_an_error(digits, unfreeze, classifier):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    net = classifier(unfreeze=unfreeze).fit(X, names)
    expected = net.predict(X)
    np.testing.assert_array_equal(net.predict(SkorchDataset(X)), expected)
    np.testing.assert_array_equal(net.predict(SliceDataset(Images(X))), expected)
    with pytest.raises(ImageInputError, match="SliceDataset"):
        net.predict(Images(X))


def test_validation_data_of_another_kind_are_an_error(digits, classifier):
    X, y = digits
    split = predefined_split(Images(X))
    with pytest.raises(ValueError, match="predefined_split"):
        classifier(train_split=split).fit(X, y)


@pytest.mark.parametrize("params", [{"on_train": True}, {"use_caching": False}, {}])
def test_scores_of_epochs_are_those_of_the_net(digits, params, classifier):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    scoring = EpochScoring("accuracy", name="score", lower_is_better=False, **params)
    split = predefined_split(SkorchDataset(X, names))
    net = classifier(train_split=split, callbacks=[scoring], schedule="constant")
    net.fit(X, names)
    if "on_train" not in params:
        assert net.history[-1, "score"] == net.score(X, names)
    assert 0.9 < net.history[-1, "score"] <= 1


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping,
        EarlyStopping(monitor="valid_loss"),
        LRScheduler("ReduceLROnPlateau", monitor="valid_loss"),
    ],
)
def test_callbacks_that_would_watch_nothing(digits, callback, classifier):
    X, y = digits
    net = classifier(callbacks=[callback], schedule="constant", warmup=0)
    before = images_embedded()
    with pytest.raises(ValueError, match="nothing is held out"):
        net.fit(X, y)
    assert images_embedded() == before
    net.set_params(train_split=ValidSplit(5), max_epochs=1).fit(X, y)


def test_early_stopping_without_validation_data(digits, classifier):
    X, y = digits
    net = classifier(
        early_stopping=True, train_split=lambda data, y, **kw: (data, None)
    )
    with pytest.raises(ValueError, match="returned none"):
        net.fit(X, y)


@pytest.mark.parametrize(
    "params", [{"n_views": 4}, {"n_views": None}, {"unfreeze": "all"}]
)
def test_workers_draw_new_variations_in_each_epoch(digits, params, classifier):
    X, y = digits
    drawn = []
    for workers in (0, 2):
        watch = Watch()
        classifier(
            augment="light",
            batch_size=20,
            max_epochs=3,
            callbacks=[watch],
            iterator_train__shuffle=False,
            iterator_train__num_workers=workers,
            **params,
        ).fit(X, y)
        drawn.append(watch.inputs())
    for alone, helped in zip(*drawn, strict=True):
        np.testing.assert_allclose(alone, helped, atol=1e-6)
    first, second, third = drawn[0]
    assert not np.allclose(first, second)
    assert not np.allclose(second, third)


def test_views_are_shared_without_a_random_state(digits, tmp_path, classifier):
    X, y = digits
    net = classifier(augment="light", n_views=3, random_state=None, cache=tmp_path)
    before = images_embedded()
    GridSearchCV(net, {"lr": [1e-4, 1e-3]}, cv=2).fit(X, y)
    assert images_embedded() - before == 300


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomResizedCrop(8),
        v2.ColorJitter(0.2),
        v2.RandomErasing(),
        v2.GaussianBlur(3),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_transforms_are_no_estimators_to_clone(digits, transform):
    # torchvision's transforms have a get_params too, which wants arguments.
    X, y = digits
    X = np.repeat(X[..., None], 3, axis=3)
    net = FineTunedClassifier("pocket", augment=transform, image_size=8, max_epochs=1)
    assert net.get_params()["augment"] is transform
    copied = clone(net)
    assert type(copied.augment) is type(transform)
    assert copied.augment is not transform
    assert np.isfinite(cross_val_score(net, X, y, cv=2, error_score="raise")).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"class_weight": {0: 0, 1: 0}}, "class_weight"),
        ({"class_weight": {0: float("nan")}}, "class_weight"),
        ({"class_weight": {"zero": 2}}, "not among the classes"),
        (
            {"head": lambda n, k: torch.nn.Linear(n + 1, k), "head_init": "random"},
            "head=",
        ),
        ({"criterion": torch.nn.BCEWithLogitsLoss}, "criterion="),
        ({"iterator_train__typo": 1}, "typo"),
        ({"iterator_train__drop_last": True, "batch_size": 128}, "drop them all"),
        ({"device": "cuda:99"}, "device='cuda:99'"),
        ({"unfreeze": 99}, "unfreeze=99"),
        ({"iterator_train__sampler": [1, 2]}, "sample_weight"),
        ({"iterator_train__batch_sampler": [[1, 2]]}, "sample_weight"),
        ({"early_stopping": True, "callbacks__best_epoch": None}, "best_epoch=None"),
    ],
)
def test_errors_come_early(digits, params, message, classifier):
    X, y = digits
    X, y = X[y < 2], y[y < 2]
    before = images_embedded()
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(**params, cache=None).fit(X, y)
    assert images_embedded() - before <= 1


@pytest.mark.parametrize(
    ("y", "params", "message"),
    [
        (np.zeros(100), {}, "only one class"),
        (None, {"unfreeze": 99}, "unfreeze=99"),
        (None, {"backbone": "lenet6"}, "lenet6"),
    ],
)
def test_no_image_is_read_for_what_is_wrong_anyway(
    digits, monkeypatch, y, params, message
):
    X, labels = digits

    def contents(image):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        return file.getvalue()

    read = []
    rows_type = type(ImageRows.of(X))
    fingerprint = rows_type.fingerprint

    def counted(rows, i):
        read.append(i)
        return fingerprint(rows, i)

    monkeypatch.setattr(rows_type, "fingerprint", counted)
    net = FineTunedClassifier(**{"backbone": "lenet5", **params})
    with pytest.raises(ValueError, match=message):
        net.fit([contents(image) for image in X], labels if y is None else y)
    assert not read


@pytest.mark.parametrize("labels", [["cat", None], ["cat", 1]])
def test_labels_of_several_types(digits, labels, classifier):
    X, _ = digits
    with pytest.raises(ValueError, match="of several types, or lacks some"):
        classifier().fit(X, np.array(labels * 50, dtype=object))


def test_labels_are_named_as_the_user_knows_them(digits, classifier):
    X, _ = digits
    with pytest.raises(ValueError, match=r"only one class: 'cat'\."):
        classifier().fit(X, np.array(["cat"] * 100))


def test_regressor_keeps_the_digits_of_large_targets(digits):
    X, y = digits
    net = FineTunedRegressor("lenet5", augment="none", max_epochs=1, random_state=0)
    small = net.fit(X, y).predict(X)
    large = net.fit(X, 1.7e9 + y).predict(X)
    assert large.dtype == np.float64
    np.testing.assert_allclose(large - 1.7e9, small, atol=1e-3)


def test_a_pattern_across_stages_keeps_their_rates(digits, classifier):
    X, y = digits
    plain = classifier(unfreeze="all").fit(X, y)
    own = ("*.weight", {"weight_decay": 0.3}), ("head.bias", {"lr": 0.5})
    net = classifier(unfreeze="all", optimizer__param_groups=own).fit(X, y)

    def of(net, entry):
        names = {id(p): name for name, p in net.module_.named_parameters()}
        return {
            names[id(p)]: group[entry]
            for group in net.optimizer_.param_groups
            for p in group["params"]
        }

    expected = {**of(plain, "lr"), "head.bias": 0.5}
    assert of(net, "lr") == pytest.approx(expected)
    decays = of(net, "weight_decay")
    assert decays["stages.stem.0.weight"] == 0.3
    biases = [name for name in decays if name.endswith(".bias")]
    assert len(biases) > 1
    assert {decays[name] for name in biases} == {0.0}
    net.set_params(lr=2e-3, max_epochs=0).partial_fit(X, y)
    assert of(net, "lr")["head.bias"] == 0.5
    assert of(net, "lr")["head.weight"] == pytest.approx(2e-3)


def test_rate_of_the_optimizer_is_the_rate(digits, classifier):
    X, y = digits
    net = classifier(optimizer__lr=0.02).fit(X, y)
    assert max(group["lr"] for group in net.optimizer_.param_groups) == 0.02


def test_rows_that_are_not_shuffled_come_in_the_same_order(digits, classifier):
    X, y = digits
    watch = Watch()
    classifier(iterator_train__shuffle=False, callbacks=[watch]).fit(X, y)
    first, second = watch.targets()
    np.testing.assert_array_equal(first, second)


def test_partials_and_lambdas_vary_images(digits, classifier):
    X, y = digits
    for augment in (
        lambda image: image.flip(-1),
        functools.partial(torch.mul, other=0.5),
    ):
        net = classifier(augment=augment, n_views=2)
        assert net.fit(X, y).score(X, y) > 0.9
