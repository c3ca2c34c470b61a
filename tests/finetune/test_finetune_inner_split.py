"""What early stopping holds out: a share, whole groups and images, every class kept."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sktl import FineTunedClassifier
from sktl.finetune._inner_split import inner_split


def check_sides(train, valid, n, *, whole=()):
    """Assert that two sides divide n rows and cut through none of ``whole``."""
    np.testing.assert_array_equal(np.sort(np.r_[train, valid]), np.arange(n))
    assert len(train)
    assert len(valid)
    for codes in whole:
        assert not set(codes[train]) & set(codes[valid])


def removable(y, groups):
    """Tell whether some group can go while all classes remain."""
    return any(set(y[groups != group]) == set(y) for group in np.unique(groups))


# ----- the plain draw


def test_draw_of_distinct_images_is_pinned():
    # Measured results and examples rest on this very draw.
    y = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 0, 0, 1])
    expected = {
        True: [[3, 10], [5, 9], [2, 11]],
        False: [[2, 9], [1, 10], [2, 8]],
    }
    for stratify, draws in expected.items():
        for seed, rows in enumerate(draws):
            for images in (None, np.arange(12), np.arange(12)[::-1] * 7):
                train, valid = inner_split(y, None, 0.2, stratify, seed, images)
                assert valid.tolist() == rows
                check_sides(train, valid, 12)


def test_every_class_needs_an_image_to_train_on():
    with pytest.raises(ValueError, match=r"validation_fraction=0.1 .* n_samples=4 "):
        inner_split(np.arange(4), None, 0.1, True, 0)
    with pytest.raises(ValueError, match="leave none to spare"):
        inner_split(np.zeros(4), None, 0.1, False, 0, np.zeros(4))


# ----- images


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_rows_of_one_image_stay_on_one_side(stratify, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=80)
    images = rng.integers(50, size=80) * 3
    train, valid = inner_split(y, None, 0.25, stratify, seed, images)
    check_sides(train, valid, 80, whole=[images])
    n_images = len(np.unique(images))
    assert abs(len(np.unique(images[valid])) / n_images - 0.25) < 0.05
    if stratify:
        assert set(y[train]) == set(y)


def test_second_class_of_an_image_is_not_lost_with_it():
    # Only one image, which is also a cat, is a dog.
    y = np.array([0] * 9 + [1])
    images = np.r_[np.arange(9), 8]
    for seed in range(40):
        train, valid = inner_split(y, None, 0.5, True, seed, images)
        check_sides(train, valid, 10, whole=[images])
        assert 9 in train


def test_two_images_of_both_classes_can_be_split():
    # By its first row, each image is the only one of its class.
    y, images = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    train, valid = inner_split(y, None, 0.5, True, 0, images)
    check_sides(train, valid, 4, whole=[images])


# ----- groups


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.15, 0.3, 0.4, 0.5, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("stratify", [True, False])
def test_groups_are_held_out_in_the_share_asked_for(fraction, stratify):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    groups = np.arange(300) // 3
    train, valid = inner_split(y, groups, fraction, stratify, 0)
    check_sides(train, valid, 300, whole=[groups])
    assert len(valid) / 300 == pytest.approx(fraction, abs=0.045)
    assert set(y[train]) == set(y)


@pytest.mark.parametrize("seed", range(60))
def test_groups_split_whenever_one_can_go(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 60))
    y = rng.integers(rng.integers(2, 9), size=n)
    groups = rng.integers(2, max(3, n // 3) + 2, size=n)
    fraction = rng.choice([0.05, 0.1, 0.3, 0.7, 0.95])
    if len(np.unique(groups)) < 2 or not removable(y, groups):
        with pytest.raises(ValueError, match="early_stopping=True"):
            inner_split(y, groups, fraction, True, seed)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, valid = inner_split(y, groups, fraction, True, seed)
        again = inner_split(y, groups, fraction, True, seed)
    check_sides(train, valid, n, whole=[groups])
    assert set(y[train]) == set(y)
    np.testing.assert_array_equal(valid, again[1])


def test_another_seed_holds_out_other_groups():
    y, groups = np.arange(90) % 3, np.arange(90) // 3
    for stratify in (True, False):
        drawn = {
            tuple(inner_split(y, groups, 0.2, stratify, seed)[1]) for seed in range(5)
        }
        assert len(drawn) > 1


def test_small_classes_are_held_out_too():
    # Ten rows are to be held out, and no class has as many.
    y, groups = np.arange(60) % 10, np.arange(60)
    _, valid = inner_split(y, groups, 1 / 6, True, 0)
    assert len(valid) == 10
    assert len(set(y[valid])) >= 6


def test_giant_group_stays_in_training():
    y = np.arange(200) % 2
    groups = np.r_[np.zeros(140, dtype=int), np.arange(60) + 1]
    for seed in range(5):
        _, valid = inner_split(y, groups, 0.1, True, seed)
        assert len(valid) < 40


def test_regressor_keeps_a_group_to_train_on():
    train, valid = inner_split(np.zeros(6), np.arange(6) // 2, 0.95, False, 0)
    check_sides(train, valid, 6)


def test_no_group_to_spare_is_our_own_error():
    y = np.arange(20) // 10
    with pytest.raises(ValueError, match="no group can be held out"):
        inner_split(y, y, 0.1, True, 0)
    with pytest.raises(ValueError, match="at least two groups"):
        inner_split(y, np.full(20, "a"), 0.1, True, 0)


# ----- groups and images


@pytest.mark.parametrize("stratify", [True, False])
def test_groups_that_share_an_image_stay_together(stratify):
    y, groups = np.arange(120) % 3, np.arange(120) // 2
    images = np.arange(120)
    images[::12] = images[3::12]  # one row of a group and one of the next
    for seed in range(5):
        train, valid = inner_split(y, groups, 0.3, stratify, seed, images)
        check_sides(train, valid, 120, whole=[groups, images])


def test_groups_are_kept_where_an_image_is_in_all_of_them():
    y, groups = np.arange(40) % 2, np.arange(40) // 4
    images = np.arange(40)
    images[::4] = 0
    train, valid = inner_split(y, groups, 0.2, True, 0, images)
    check_sides(train, valid, 40, whole=[groups])


def test_distinct_images_do_not_move_a_split_of_groups():
    y, groups = np.arange(90) % 3, np.array([f"g{i // 4}" for i in range(90)])
    for stratify in (True, False):
        plain = inner_split(y, groups, 0.2, stratify, 3)
        given = inner_split(y, groups, 0.2, stratify, 3, np.arange(90)[::-1])
        np.testing.assert_array_equal(plain[1], given[1])


# ----- through the estimator


@pytest.mark.filterwarnings("error::UserWarning")
def test_estimator_splits_groups_of_small_classes():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8)
    params = {"early_stopping": True, "augment": "none", "random_state": 0}
    net = FineTunedClassifier("lenet5", max_epochs=1, **params)
    net.fit(X[:60], y[:60], groups=np.arange(60))
    assert "valid_loss" in net.history[0]
    net.set_params(validation_fraction=0.8).fit(X[:100], y[:100], groups=np.arange(100))
    held = [b.get("valid_batch_size", 0) for b in net.history[0]["batches"]]
    assert sum(held) == pytest.approx(80, abs=4)
