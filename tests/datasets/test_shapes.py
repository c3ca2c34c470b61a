"""Drawn images: what they promise."""

import numpy as np
import pytest

from sktl.datasets import make_shapes


def test_classes_are_equally_frequent_and_mixed():
    X, y = make_shapes(52, size=32, random_state=0)
    names, counts = np.unique(y, return_counts=True)
    assert list(names) == ["circle", "cross", "square", "star", "triangle"]
    assert counts.max() - counts.min() == 1
    assert (X.shape, X.dtype) == ((52, 32, 32, 3), np.uint8)
    assert len(set(y[:5])) > 1
    assert len({x.tobytes() for x in X}) == 52


def test_the_seed_decides():
    first, again = (make_shapes(6, size=32, random_state=3)[0] for _ in range(2))
    other, _ = make_shapes(6, size=32, random_state=4)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_colours_say_nothing_about_the_class():
    X, y = make_shapes(200, size=32, random_state=0)
    means = X.reshape(len(X), -1, 3).mean(axis=1)
    by_class = np.array([means[y == name].mean(axis=0) for name in np.unique(y)])
    assert np.ptp(by_class, axis=0).max() < means.std()


@pytest.mark.parametrize("wrong", [{"n_images": 0}, {"size": 3}, {"random_state": "x"}])
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make_shapes(**wrong)
