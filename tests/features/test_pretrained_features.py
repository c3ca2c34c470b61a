"""PretrainedFeatures: the numbers, and what the fitted object is made of."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from torch import nn
from torchvision.transforms._presets import ImageClassification

from sktl import PretrainedFeatures
from sktl.engine import images_embedded
from sktl.exceptions import (
    BackboneNotFoundError,
    StageNotFoundError,
    UnreadableImageError,
    UnreadableImageWarning,
    ValueRangeError,
)


def assert_relative(actual, expected, tolerance):
    """Assert that two matrices differ by a small part of their own size."""
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@pytest.fixture(scope="module")
def photos():
    """Return eight coloured images of 70 x 90 px, coarse noise."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (8, 7, 9, 3), dtype=np.uint8)
    return coarse.repeat(10, axis=1).repeat(10, axis=2)


@pytest.fixture(scope="module")
def plain_resnet18():
    """Return torchvision's own network, with BatchNorm statistics that matter."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = torchvision.models.resnet18(weights=None).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2)
    return network


@pytest.fixture(scope="module")
def resnet18_file(plain_resnet18, tmp_path_factory):
    """Return a weights file of that network."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(plain_resnet18.state_dict(), path)
    return path


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_numbers_are_those_of_plain_torchvision(
    engine, photos, plain_resnet18, resnet18_file
):
    if engine == "openvino":
        pytest.importorskip("openvino")
    prepare = ImageClassification(crop_size=64, resize_size=73)
    pixels = torch.stack([prepare(Image.fromarray(photo)) for photo in photos])
    kept = {}
    hooks = [
        getattr(plain_resnet18, name).register_forward_hook(
            lambda module, inputs, output, name=name: kept.update({name: output})
        )
        for name in ("layer3", "avgpool")
    ]
    with torch.inference_mode():
        plain_resnet18(pixels)
    for hook in hooks:
        hook.remove()

    features = PretrainedFeatures(
        "resnet18", weights=resnet18_file, image_size=64, engine=engine, cache=None
    )
    embeddings = features.fit_transform(photos)
    assert embeddings.dtype == np.float32
    # Pixels may differ by a grey level where a faster resize is used.
    assert_relative(embeddings, kept["avgpool"].flatten(1).numpy(), 5e-3)

    maps = kept["layer3"].numpy()
    for pool, expected in {
        "avg": maps.mean((2, 3)),
        "max": maps.max((2, 3)),
        "avgmax": np.hstack([maps.mean((2, 3)), maps.max((2, 3))]),
        "flatten": maps.reshape(len(maps), -1),
    }.items():
        features.set_params(layers="stage3", pool=pool)
        assert_relative(features.fit_transform(photos), expected, 2e-2)


def test_all_stages_are_joined_with_the_embedding_and_evened(photos):
    features = PretrainedFeatures("pocket", layers="all").fit(photos)
    assert features.layers_ == ("stem", "stage1", "stage2", "stage3", "pool")
    found, start = features.transform(photos), 0
    for layer in features.layers_:
        plain = PretrainedFeatures("pocket", layers=layer).fit_transform(photos)
        part = found[:, start : start + plain.shape[1]]
        length = np.linalg.norm(plain, axis=1, keepdims=True)
        np.testing.assert_allclose(
            part, plain / length * plain.shape[1] ** 0.5, rtol=1e-4, atol=1e-5
        )
        start += plain.shape[1]
    assert found.shape[1] == start == len(features.get_feature_names_out())


def test_layers_are_concatenated_in_the_order_asked_for(photos):
    def embed(layers):
        return PretrainedFeatures("pocket", layers=layers).fit_transform(photos)

    both = embed(["stage3", "stage1"])
    assert_array_equal(both, np.hstack([embed("stage3"), embed("stage1")]))
    assert embed("stage[13]").shape == both.shape


def test_embeddings_do_not_depend_on_batch_order_or_companions(photos):
    features = PretrainedFeatures("pocket", cache=None).fit(photos)
    embeddings = features.transform(photos)
    order = np.random.default_rng(0).permutation(len(photos))
    assert_relative(features.transform(photos[order]), embeddings[order], 1e-5)
    assert_relative(features.transform(photos[3:4]), embeddings[3:4], 1e-5)
    for batch_size in (1, 3, 64):
        features.set_params(batch_size=batch_size)
        assert_relative(features.transform(photos), embeddings, 1e-5)


def test_all_forms_of_the_same_pixels_embed_alike(photos, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(photos))]
    for path, photo in zip(paths, photos, strict=True):
        Image.fromarray(photo).save(path)
    forms = [
        photos,
        torch.from_numpy(photos.transpose(0, 3, 1, 2).copy()),
        list(photos),
        paths,
        np.array([str(path) for path in paths]),
        [path.read_bytes() for path in paths],
        [Image.open(path) for path in paths],
    ]
    features = PretrainedFeatures("pocket", cache=None).fit(photos)
    expected = features.transform(photos)
    for form in forms:
        assert_relative(features.transform(form), expected, 1e-5)


def test_an_image_is_embedded_once(photos):
    # A range that no other test uses, so that nothing is in the session's store yet.
    images = photos // 2 + 3
    features = PretrainedFeatures("pocket").fit(images)
    before = images_embedded()
    first = features.transform(np.concatenate([images, images[:3]]))
    assert images_embedded() - before == len(images)
    again = clone(features).fit(images[::-1]).transform(images)
    assert images_embedded() - before == len(images)
    assert_array_equal(first[: len(images)], again)


def test_a_module_of_ones_own_is_a_backbone(photos):
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 5, 3, stride=2), nn.ReLU()),
    )
    features = PretrainedFeatures(network, image_size=32).fit(photos)
    embeddings = features.transform(photos)
    assert embeddings.shape == (8, 5)
    again = pickle.loads(pickle.dumps(clone(features).fit(photos)))
    assert_allclose(again.transform(photos), embeddings, rtol=1e-5)


def test_feature_names_tell_backbone_layer_and_position(photos):
    features = PretrainedFeatures("pocket").fit(photos)
    names = features.get_feature_names_out()
    assert names[0] == "pocket_000"
    assert len(names) == features.transform(photos).shape[1]
    features.set_params(layers=["stem", "stage2"], pool="avgmax").fit(photos)
    names = features.get_feature_names_out()
    assert len(set(names)) == features.transform(photos).shape[1]
    assert {name.rsplit("_", 1)[0] for name in names} == {
        "pocket_stem",
        "pocket_stage2",
    }


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output_gives_a_named_frame(container, photos):
    pytest.importorskip(container)
    frame = (
        PretrainedFeatures("pocket").set_output(transform=container).fit(photos)
    ).transform(photos)
    assert type(frame).__module__.split(".")[0] == container
    assert list(frame.columns)[1] == "pocket_001"


def test_a_fitted_pickle_has_kilobytes_and_gives_the_same_numbers(photos):
    features = PretrainedFeatures("pocket").fit(photos)
    embeddings = features.transform(photos)
    pickled = pickle.dumps(features)
    assert len(pickled) < 10_000
    assert_array_equal(pickle.loads(pickled).transform(photos), embeddings)


def test_clone_and_construction_load_no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a network was resolved")

    monkeypatch.setattr("sktl.features._pretrained.resolve", refuse)
    copy = clone(PretrainedFeatures("resnet18", layers="stage2"))
    assert copy.get_params()["layers"] == "stage2"


def test_refit_after_set_params_uses_the_new_backbone(photos):
    features = PretrainedFeatures("pocket").fit(photos)
    width = features.transform(photos).shape[1]
    features.set_params(backbone="lenet5")
    # Not fitted again yet: the numbers are still those of the fitted network.
    assert features.transform(photos).shape[1] == width
    assert features.fit(photos).transform(photos).shape[1] == 84


def test_refit_on_images_forgets_the_columns_of_a_table(photos):
    features = PretrainedFeatures("lenet5").fit(load_digits().data[:9])
    assert features.n_features_in_ == 64
    assert not hasattr(features.fit(photos), "n_features_in_")


def test_random_weights_follow_random_state(photos):
    def embed(seed):
        features = PretrainedFeatures("pocket", weights=None, random_state=seed)
        return features.fit_transform(photos)

    assert_array_equal(embed(0), embed(0))
    assert np.abs(embed(0) - embed(1)).max() > 1e-3


def test_global_random_state_is_untouched(photos):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    PretrainedFeatures("pocket", weights=None, random_state=0).fit_transform(photos)
    assert torch.rand(1) == expected[0]
    assert np.random.rand() == expected[1]  # noqa: NPY002


def test_progress_bar_is_shown_on_request(photos, capsys):
    PretrainedFeatures("pocket", cache=None, verbose=1).fit_transform(photos)
    assert "8/8" in capsys.readouterr().err
    PretrainedFeatures("pocket", cache=None).fit_transform(photos)
    assert capsys.readouterr().err == ""


def test_unreadable_images_are_reported_together(photos, tmp_path):
    paths = []
    for i, photo in enumerate(photos):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(photo).save(paths[-1])
    features = PretrainedFeatures("pocket").fit(paths)
    embeddings = features.transform(paths)
    paths[2].write_text("not an image")
    paths[5].unlink()
    with pytest.raises(
        UnreadableImageError, match=r"(?s)row 2 .*2\.png.*row 5 .*5\.png"
    ):
        features.transform(paths)
    features.set_params(on_error="nan")
    with pytest.warns(UnreadableImageWarning, match=r"(?s)row 2 .*row 5 "):
        with_gaps = features.transform(paths)
    assert np.isnan(with_gaps).all(axis=1).nonzero()[0].tolist() == [2, 5]
    kept = [0, 1, 3, 4, 6, 7]
    assert_array_equal(with_gaps[kept], embeddings[kept])


def test_another_scale_than_in_fit_is_an_error(photos):
    features = PretrainedFeatures("pocket").fit(photos / 255)
    with pytest.raises(ValueRangeError, match="255"):
        features.transform(photos.astype(float))


def test_float_and_integer_pixels_embed_alike(photos):
    of_bytes = PretrainedFeatures("pocket").fit_transform(photos)
    of_floats = PretrainedFeatures("pocket").fit_transform(photos / 255)
    assert_relative(of_floats, of_bytes, 1e-2)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"backbone": "resnet81"}, BackboneNotFoundError, "resnet18|resnet1"),
        ({"layers": "stage9"}, StageNotFoundError, "stage4"),
        ({"layers": []}, StageNotFoundError, "empty"),
        ({"pool": "mean"}, ValueError, "avgmax"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"image_size": 0}, ValueError, "image_size"),
        ({"image_size": (3, 3, 3)}, ValueError, "image_size"),
        ({"value_range": (1, 0)}, ValueError, "value_range"),
        ({"device": "cpv"}, ValueError, "device.*cpv"),
        ({"device": "cuda:99"}, ValueError, "cuda:99"),
    ],
)
def test_wrong_parameters_are_named(parameters, error, message, photos):
    with pytest.raises(error, match=message):
        PretrainedFeatures(**parameters).fit_transform(photos.astype(float))


def test_transform_before_fit_is_an_error(photos):
    with pytest.raises(NotFittedError):
        PretrainedFeatures().transform(photos)


def test_a_process_that_finds_everything_in_the_store_needs_no_torch(photos, tmp_path):
    np.save(tmp_path / "photos.npy", photos)
    PretrainedFeatures("pocket", cache=tmp_path / "store").fit_transform(photos)
    code = (
        "import sys, numpy as np; from sktl import PretrainedFeatures;"
        f"X = np.load({str(tmp_path / 'photos.npy')!r});"
        f"f = PretrainedFeatures('pocket', cache={str(tmp_path / 'store')!r});"
        "print(f.fit_transform(X).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "False"
