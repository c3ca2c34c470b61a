"""What early stopping holds out: a share, whole groups and images, every class kept."""

import numpy as np
import pytest

from sktl.finetune._training_rows import hold_out


def removable(y, groups):
    """Tell whether some group can go while all classes remain."""
    return any(set(y[groups != group]) == set(y) for group in np.unique(groups))


def sides(units, y, fraction, seed):
    """Divide rows, check that units stay whole, and return both sides."""
    valid = hold_out(units, y, fraction, seed)
    train = np.setdiff1d(np.arange(len(units)), valid)
    assert len(train)
    assert len(valid)
    assert not set(units[train]) & set(units[valid])
    if y is not None:
        assert set(y[train]) == set(y)
    return train, valid


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25, 0.5, 0.9])
def test_classes_of_distinct_images_keep_their_proportions(fraction):
    y = np.repeat([0, 1, 2], [200, 80, 20])
    _, valid = sides(np.arange(300), y, fraction, seed=0)
    assert len(valid) == round(fraction * 300)
    np.testing.assert_allclose(
        np.bincount(y[valid]), fraction * np.array([200, 80, 20]), atol=1
    )


def test_every_class_needs_an_image_to_train_on():
    with pytest.raises(ValueError, match="n_samples=4 leave none to spare"):
        hold_out(np.arange(4), np.arange(4), 0.1, 0)
    with pytest.raises(ValueError, match="leave none to spare"):
        hold_out(np.zeros(4), None, 0.1, 0)


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_rows_of_one_image_stay_on_one_side(stratify, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=80) if stratify else None
    images = rng.integers(50, size=80) * 3
    _, valid = sides(images, y, 0.25, seed)
    assert len(valid) / 80 == pytest.approx(0.25, abs=0.08)


def test_second_class_of_an_image_is_not_lost_with_it():
    # Only one image, which is also a cat, is a dog.
    y = np.array([0] * 9 + [1])
    images = np.r_[np.arange(9), 8]
    for seed in range(40):
        train, _ = sides(images, y, 0.5, seed)
        assert 9 in train


def test_two_images_of_both_classes_can_be_split():
    sides(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), 0.5, seed=0)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.15, 0.3, 0.4, 0.5, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("stratify", [True, False])
def test_groups_are_held_out_in_the_share_asked_for(fraction, stratify):
    y = np.random.default_rng(0).integers(3, size=300) if stratify else None
    _, valid = sides(np.arange(300) // 3, y, fraction, seed=0)
    assert len(valid) / 300 == pytest.approx(fraction, abs=0.045)


@pytest.mark.parametrize("seed", range(60))
def test_groups_split_whenever_one_can_go(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 60))
    y = rng.integers(rng.integers(2, 9), size=n)
    groups = rng.integers(2, max(3, n // 3) + 2, size=n)
    fraction = rng.choice([0.05, 0.1, 0.3, 0.7, 0.95])
    if len(np.unique(groups)) < 2 or not removable(y, groups):
        with pytest.raises(ValueError, match="early_stopping=True"):
            hold_out(groups, y, fraction, seed)
        return
    _, valid = sides(groups, y, fraction, seed)
    np.testing.assert_array_equal(valid, hold_out(groups, y, fraction, seed))


@pytest.mark.parametrize("stratify", [True, False])
def test_another_seed_holds_out_other_groups(stratify):
    y = np.arange(90) % 3 if stratify else None
    drawn = {tuple(hold_out(np.arange(90) // 3, y, 0.2, seed)) for seed in range(5)}
    assert len(drawn) == 5


def test_giant_group_stays_in_training():
    groups = np.r_[np.zeros(140, dtype=int), np.arange(60) + 1]
    for seed in range(5):
        _, valid = sides(groups, np.arange(200) % 2, 0.1, seed)
        assert len(valid) == 20


@pytest.mark.filterwarnings("error::UserWarning")
def test_estimator_splits_groups_of_small_classes(digits, classifier):
    X, y = digits
    net = classifier(early_stopping=True, max_epochs=1)
    net.fit(X[:60], y[:60], groups=np.arange(60))
    assert "valid_loss" in net.history[0]
    net.set_params(validation_fraction=0.8).fit(X[:100], y[:100], groups=np.arange(100))
    held = [b.get("valid_batch_size", 0) for b in net.history[0]["batches"]]
    assert sum(held) == pytest.approx(80, abs=4)
