"""Rows in, numbers out: right, in order, and computed once."""

import hashlib

import numpy as np
import pytest

from sktl.engine import activations, images_embedded
from sktl.exceptions import UnreadableImageError, UnreadableImageWarning
from sktl.store import EmbeddingStore

from .fakes import FakeRows, make_part, make_rows, reference


@pytest.mark.parametrize("cache", [None, "session", "store"])
def test_values_equal_plain_torch_whatever_the_cache(cache, tmp_path):
    cache = EmbeddingStore(tmp_path / "store") if cache == "store" else cache
    rows, part = make_rows(30), make_part()
    expected = reference(rows, part)
    cold = activations(rows, part, cache=cache)
    warm = activations(rows, part, cache=cache)
    assert cold.dtype == np.float32
    np.testing.assert_allclose(cold, expected, rtol=1e-5, atol=1e-6)
    if cache is not None:
        np.testing.assert_array_equal(warm, cold)


def test_each_image_is_computed_once():
    rows, part = make_rows(40), make_part()
    before = images_embedded()
    activations(rows, part)
    subset = FakeRows(rows.images[::-1][:25])
    values = activations(subset, part)
    assert images_embedded() - before == 40
    np.testing.assert_array_equal(values, activations(rows, part)[::-1][:25])


def test_identical_rows_of_a_call_are_computed_once_even_without_a_cache():
    rows = make_rows(5)
    repeated = FakeRows(rows.images[[0, 1, 0, 2, 3, 4, 4, 0]])
    before = images_embedded()
    values = activations(repeated, make_part(), cache=None)
    assert images_embedded() - before == 5
    np.testing.assert_array_equal(values[0], values[7])
    np.testing.assert_array_equal(values[5], values[6])
    assert not np.array_equal(values[0], values[1])


def test_values_do_not_depend_on_companions():
    rows, part = make_rows(37), make_part()
    together = activations(rows, part, cache=None)
    alone = np.concatenate(
        [
            activations(FakeRows(rows.images[i : i + 1]), part, cache=None)
            for i in range(37)
        ]
    )
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "pool", "shape"),
    [
        (("pool",), "avg", (12,)),
        (("stage1",), "max", (12,)),
        (("stage1",), "avgmax", (24,)),
        (("stem",), "flatten", (8 * 16 * 16,)),
        (("stage1", "stem"), "avg", (20,)),
        (("stage1",), "none", (12, 8, 8)),
    ],
)
def test_layers_and_pools_give_these_shapes(layers, pool, shape):
    values = activations(make_rows(3), make_part(layers, pool), cache=None)
    assert values.shape == (3, *shape)


def test_layers_come_in_the_order_asked_for():
    rows = make_rows(3)
    both = activations(rows, make_part(("stage1", "stem")), cache=None)
    stem = activations(rows, make_part(("stem",)), cache=None)
    np.testing.assert_allclose(both[:, 12:], stem, rtol=1e-5)


def test_unreadable_rows_are_all_named():
    rows = make_rows(30, bad=[3, 17, 29])
    with pytest.raises(UnreadableImageError, match=r"3 of 30.*row 3 .*17.*29"):
        activations(rows, make_part())


def test_repetitions_of_an_unreadable_row_are_named_too():
    rows = make_rows(4, bad=[2])
    repeated = FakeRows(rows.images[[0, 1, 2, 3, 2]], bad=[2, 4])
    with pytest.raises(UnreadableImageError, match=r"2 of 5.*row 2.*row 4"):
        activations(repeated, make_part())


def test_unreadable_rows_become_nan_and_the_others_stay():
    rows = make_rows(30, bad=[3, 17])
    with pytest.warns(UnreadableImageWarning, match="2 of 30"):
        values = activations(rows, make_part(), on_error="nan")
    assert np.isnan(values[[3, 17]]).all()
    assert np.isfinite(np.delete(values, [3, 17], axis=0)).all()


def test_rows_of_nothing_but_unreadable_images_keep_their_width():
    rows = make_rows(2, bad=[0, 1])
    with pytest.warns(UnreadableImageWarning):
        values = activations(rows, make_part(), on_error="nan")
    assert values.shape == (2, 12)
    assert np.isnan(values).all()


def test_what_changes_the_numbers_changes_the_key():
    part = make_part()
    others = [
        make_part(seed=1),
        make_part(layers=("stage1",)),
        make_part(pool="max"),
        make_part(value_range=(0.0, 4095.0)),
        make_part(precision="bfloat16"),
        make_part(precision="bfloat16", engine="openvino"),
    ]
    assert len({part.key, *(other.key for other in others)}) == 7


def test_a_part_keeps_its_key():
    # Embeddings that people have stored are found by what comes after.
    part = make_part(value_range=(0, 255))
    key = "1 fake weights-0 ('pool',) avg [16x16] (0.0, 255.0) float32"
    assert part.key == key
    assert part.digest == hashlib.blake2b(key.encode(), digest_size=16).digest()
    assert make_part(precision="bfloat16").key.endswith(" None bfloat16 torch")


def test_shared_network_is_left_as_it_was():
    import torch

    part = make_part(precision="bfloat16")
    network = part.backbone.load()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    activations(make_rows(3), part, cache=None)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
