"""What the frozen part computes, how often, and on which pixels."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch.nn import functional
from torchvision.transforms import v2

from sktl import (
    EmbeddingStore,
    FineTunedClassifier,
    FineTunedRegressor,
    PretrainedFeatures,
)
from sktl.engine import images_embedded
from sktl.exceptions import CacheWarning
from sktl.finetune import compute_activations
from sktl.finetune._training import Mixup
from sktl.images import ImageRows, Recipe, ViewRows, variation_of
from sktl.images._vary import affine_maps
from sktl.images._views import Variation


def tuned(**params):
    defaults = {
        "backbone": "squeezenet1_1",
        "weights": None,
        "image_size": 48,
        "max_epochs": 2,
        "augment": "none",
        "random_state": 0,
    }
    return FineTunedClassifier(**{**defaults, **params})


def embedded_by(run):
    before = images_embedded()
    run()
    return images_embedded() - before


def test_search_over_rates_pays_for_the_frozen_part_once(stripes, tmp_path):
    X, y = stripes
    search = GridSearchCV(
        tuned(cache=str(tmp_path)), {"lr": [1e-4, 3e-4, 1e-3, 3e-3]}, cv=3
    )
    assert embedded_by(lambda: search.fit(X, y)) == len(X)
    assert embedded_by(lambda: search.predict(X)) == 0


def test_head_shares_its_embeddings_with_pretrained_features(stripes, tmp_path):
    X, y = stripes
    features = PretrainedFeatures(
        "squeezenet1_1", weights=None, image_size=48, cache=tmp_path, random_state=0
    )
    assert embedded_by(lambda: features.fit_transform(X)) == len(X)
    head = tuned(unfreeze="head", cache=tmp_path)
    assert embedded_by(lambda: head.fit(X, y).predict(X)) == 0


def test_views_are_computed_once_per_image_and_view(stripes, tmp_path):
    X, y = stripes
    store = EmbeddingStore(tmp_path)
    net = tuned(augment="light", n_views=3, cache=store)
    assert embedded_by(lambda: net.fit(X, y)) == 3 * len(X)
    # Folds and candidates draw the same views: the ones of the content.
    again = tuned(augment="light", n_views=3, cache=store, lr=1e-2)
    assert embedded_by(lambda: cross_val_score(again, X[::-1], y[::-1], cv=3)) == 0
    other = tuned(augment="light", n_views=3, cache=store, random_state=1)
    other.set_params(weights=None)
    assert embedded_by(lambda: other.fit(X, y)) > 0


def test_validation_and_test_images_are_never_varied(stripes, tmp_path):
    X, y = stripes
    net = tuned(
        augment="strong",
        n_views=2,
        early_stopping=True,
        validation_fraction=0.25,
        refit=False,
        cache=tmp_path,
    )
    # 30 training images in two views, 10 validation images as they are.
    assert embedded_by(lambda: net.fit(X, y)) == 2 * 30 + 10
    assert embedded_by(lambda: net.predict(X)) == 0


def test_what_precedes_training_can_be_computed_by_itself(stripes, tmp_path):
    X, y = stripes
    params = {"augment": "light", "n_views": 2, "cache": tmp_path}
    params |= {"early_stopping": True, "validation_fraction": 0.25}
    # Both views of 30 training images; 10 held-out images as they are.
    net = tuned(**params)
    assert embedded_by(lambda: compute_activations(net, X, y)) == 2 * 30 + 10
    assert not net.history
    assert embedded_by(lambda: tuned(**params, refit=False).fit(X, y)) == 0


def test_too_large_activations_are_computed_live_and_it_says_so(stripes):
    X, y = stripes
    kept = tuned().fit(X, y)
    with pytest.warns(
        CacheWarning, match=r"after 'stage2'.* raise max_bytes"
    ) as caught:
        live = tuned(max_bytes=100).fit(X, y)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(kept.predict_proba(X), live.predict_proba(X), atol=1e-4)


def test_the_order_of_rows_does_not_matter(stripes):
    X, y = stripes
    net = tuned(unfreeze="all").fit(X, y)
    backwards = tuned(unfreeze="all").fit(X[::-1], y[::-1])
    np.testing.assert_array_equal(net.predict_proba(X), backwards.predict_proba(X))


def test_paths_train_like_the_images_they_lead_to(stripes, stripe_paths):
    X, y = stripes
    paths, _ = stripe_paths
    # Full batches: the order in which rows are drawn plays no part.
    params = {"batch_size": 40, "max_epochs": 3}
    arrays = tuned(**params).fit(X, y).predict_proba(X)
    files = tuned(**params).fit(list(paths), y).predict_proba(paths)
    np.testing.assert_allclose(arrays, files, atol=1e-3)


def test_repeated_rows_are_rows_with_weight(stripes):
    X, y = stripes
    weight = np.random.RandomState(0).randint(0, 3, len(y))
    repeated = np.repeat(np.arange(len(y)), weight)
    a = tuned().fit(X, y, sample_weight=weight)
    b = tuned().fit(X[repeated], y[repeated])
    plain = tuned().fit(X, y)
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    assert not np.allclose(a.predict_proba(X), plain.predict_proba(X), atol=1e-3)


@pytest.fixture
def batch(stripes):
    return torch.from_numpy(stripes[0][:8]).permute(0, 3, 1, 2).float() / 255


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_flip_is_the_mirror_image(batch):
    flipped = Variation(flip=1.0)(batch, generator())
    torch.testing.assert_close(flipped, batch.flip(3), atol=1e-5, rtol=0)
    upside = Variation(vertical_flip=1.0)(batch, generator())
    torch.testing.assert_close(upside, batch.flip(2), atol=1e-5, rtol=0)


def test_rotation_turns_the_image(batch):
    moves = affine_maps(batch, Variation(rotate=180.0), generator())
    cos, sin = moves[:, 0, 0], moves[:, 1, 0]
    torch.testing.assert_close(cos**2 + sin**2, torch.ones(8))
    assert len(cos.unique()) == 8


def test_crop_keeps_at_least_its_share():
    image = torch.zeros(64, 3, 32, 32)
    moves = affine_maps(image, Variation(crop=0.5), generator())
    area = moves[:, 0, 0] * moves[:, 1, 1]
    assert 0.45 < area.min() < 0.7
    reach = moves[:, [0, 1], [0, 1]] + moves[:, :, 2].abs()
    assert reach.max() <= 1 + 1e-6


def test_shift_moves_the_image_and_nothing_else(batch):
    shifted = Variation(shift=0.25)
    maps = affine_maps(batch, shifted, generator())
    torch.testing.assert_close(maps[:, :, :2], torch.eye(2).expand(8, 2, 2))
    assert 0.35 < maps[:, :, 2].abs().max() <= 0.5  # in half sides
    assert len(maps[:, :, 2].unique()) == 16
    x, y = (12 * maps[0, :, 2] / 0.5).round().int().tolist()
    moved = maps.clone()
    moved[0, :, 2] = torch.tensor([x, y]) / 24  # whole pixels of 48
    grid = functional.affine_grid(moved[:1], [1, 3, 48, 48], align_corners=False)
    seen = functional.grid_sample(batch[:1], grid, align_corners=False)
    expected = batch[:1].roll((-y, -x), (2, 3))
    inner = (..., slice(12, 36), slice(12, 36))
    torch.testing.assert_close(seen[inner], expected[inner], atol=1e-4, rtol=0)
    assert not torch.equal(shifted(batch, generator()), batch)


@pytest.mark.parametrize(
    "augment", ["light", "strong", {"shift": 0.3}, {"color": 0.4}, {"erase": 1.0}]
)
def test_variations_follow_the_seed_and_stay_pixels(batch, augment):
    variation = variation_of(augment)
    one, same = variation(batch, generator(1)), variation(batch, generator(1))
    other = variation(batch, generator(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == batch.shape
    assert one.min() >= -1e-5
    assert one.max() <= 1 + 1e-5


def test_nothing_to_vary_is_no_variation():
    assert variation_of("none") is None
    assert variation_of({"flip": 0}) is None


def test_transform_of_the_user_is_seeded_and_leaves_torch_alone(stripes, batch):
    X, y = stripes
    variation = variation_of(v2.RandomErasing(p=1.0))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, same = variation(batch, generator(1)), variation(batch, generator(1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one, same)
    assert not torch.equal(one, batch)
    net = tuned(augment=v2.RandomHorizontalFlip(), n_views=2)
    again = tuned(augment=v2.RandomHorizontalFlip(), n_views=2)
    np.testing.assert_array_equal(
        net.fit(X, y).predict_proba(X), again.fit(X, y).predict_proba(X)
    )


def test_views_of_a_function_are_not_stored(stripes, tmp_path):
    X, y = stripes
    net = tuned(augment=v2.RandomHorizontalFlip(), n_views=3, cache=tmp_path)
    assert embedded_by(lambda: net.fit(X, y)) == 3 * len(X)
    # Nobody can tell whether it has changed: only the images themselves are known.
    assert embedded_by(lambda: net.fit(X, y)) == 2 * len(X)
    assert EmbeddingStore(tmp_path).info()["rows"] == len(X)


def test_transform_that_changes_the_shape_is_an_error(stripes):
    X, y = stripes
    with pytest.raises(ValueError, match="same shape"):
        tuned(augment=v2.CenterCrop(10)).fit(X, y)


def test_views_are_functions_of_content_seed_and_number(stripes):
    images = ImageRows.of(stripes[0])
    variation, recipe = variation_of("strong"), Recipe((48, 48), None)
    view = ViewRows(images, variation, 3, [1])
    moved = ViewRows(images.take([5, 4]), variation, 3, [1])
    assert torch.equal(view.prepare(4, recipe), moved.prepare(1, recipe))
    assert view.fingerprint(4) == moved.fingerprint(1)
    prints = {
        ViewRows(images, variation_of(augment), seed, [number]).fingerprint(4)
        for augment in ("light", "strong")
        for seed in (3, 4)
        for number in (1, 2)
    }
    assert len(prints | {images.fingerprint(4)}) == 9
    assert view.where(4) == images.where(4)


def test_numbers_are_not_learned_from_flipped_images_unless_asked_for(stripes):
    X, _ = stripes
    net = FineTunedRegressor("lenet5", max_epochs=1, random_state=0, cache=None)
    y = X[:, :, :24].mean((1, 2, 3))  # the left half: a flip would change it
    assert embedded_by(lambda: net.fit(X, y)) == len(X) + 1  # one as a trial
    net.set_params(augment="light")
    assert embedded_by(lambda: net.fit(X, y)) == 4 * len(X) + 1


def test_augmentation_reaches_the_network(stripes):
    X, y = stripes
    plain = tuned(warmup=0).fit(X, y).predict_proba(X)
    for params in ({"n_views": 4}, {"n_views": None}, {"unfreeze": "all"}):
        reference = plain
        if "unfreeze" in params:
            reference = tuned(warmup=0, **params).fit(X, y).predict_proba(X)
        varied = tuned(augment="strong", warmup=0, **params).fit(X, y).predict_proba(X)
        assert not np.allclose(reference, varied, atol=1e-3)


def test_mixup_blends_rows():
    x = torch.arange(6.0)[:, None].repeat(1, 3)
    mixed, partner, share = Mixup(1.0, seed=0)(x)
    torch.testing.assert_close(mixed, share * x + (1 - share) * x[partner])
    assert 0 < share < 1


def test_mixing_changes_training_only(stripes):
    X, y = stripes
    net = tuned(max_epochs=6, mixup=0.4).fit(X, y)
    plain = tuned(max_epochs=6).fit(X, y)
    assert not np.allclose(net.predict_proba(X), plain.predict_proba(X), atol=1e-3)
    assert net.score(X, y) == 1.0


def test_warning_filters_for_several_classes_are_let_through(stripes, monkeypatch):
    # scikit-learn 1.6's checks fit under such a filter.
    monkeypatch.setattr(
        warnings,
        "filters",
        [("ignore", None, (UserWarning, FutureWarning), None, 0), *warnings.filters],
    )
    tuned(max_epochs=0, cache=None).fit(*stripes)
