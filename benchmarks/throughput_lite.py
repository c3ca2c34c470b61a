"""What the default backbone costs: speed and accuracy of each engine and precision.

The forward pass of ``efficientnet_lite0`` against timm's, in turn, in batches of 8, and
the accuracy of ``LogisticRegression`` on the embeddings of each. Where NNCF is
installed, also in int8, quantised as NNCF's manual shows it, calibrated on 300 of the
training images. Needs the folder named by ``SKTL_TEST_DATA``.

Run with: python benchmarks/throughput_lite.py
"""

import os
from pathlib import Path

import numpy as np
import torch
from _frame import arguments, host, interleaved, publish
from sklearn.linear_model import LogisticRegression
from throughput import batches, contenders, images

from sktl import PretrainedFeatures
from sktl._extras import has_module
from sktl.backbones import resolve
from sktl.datasets import load_image_folder
from sktl.images import read_images

NAME, BATCH, N_CALIBRATION = "efficientnet_lite0", 8, 300
SETS = ("cats_vs_dogs", "eurosat")


def prepared(paths):
    """Return the pixels of images as the network expects them, as uint8."""
    recipe = resolve(NAME).info.recipe
    rows = read_images(PretrainedFeatures(), paths, reset=True)
    return [torch.as_tensor(rows.prepare(i, recipe, None)) for i in range(len(rows))]


def int8_network(tensors):
    """Return the network quantised to int8 by NNCF and compiled by OpenVINO."""
    import nncf
    import openvino

    backbone = resolve(NAME)
    recipe = backbone.info.recipe
    shape = [-1, recipe.channels, *recipe.size]
    model = openvino.convert_model(
        backbone.load(),
        example_input=torch.zeros(1, *shape[1:]),
        input=[openvino.PartialShape(shape)],
    )
    calibration = nncf.Dataset(
        list(tensors), lambda x: recipe.normalise(x[None]).numpy()
    )
    quantised = nncf.quantize(model, calibration, subset_size=len(tensors))
    settings = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
    }
    return openvino.Core().compile_model(quantised, "CPU", settings), recipe


def embed_int8(compiled, recipe, tensors):
    """Return the embeddings of prepared images."""
    import openvino

    rows = [None] * -(-len(tensors) // BATCH)
    queue = openvino.AsyncInferQueue(compiled)
    queue.set_callback(
        lambda request, i: rows.__setitem__(
            i, request.get_output_tensor().data.reshape(-1, 1280).copy()
        )
    )
    for i, batch in enumerate(batches(tensors, BATCH)):
        queue.start_async([recipe.normalise(batch).numpy()], i)
    queue.wait_all()
    return np.concatenate(rows)


def accuracy_of(embed, data):
    """Return the accuracy in percent of a logistic regression on embeddings."""
    head = LogisticRegression(max_iter=1000)
    head.fit(embed(data.train.data), data.train.target)
    return round(100 * head.score(embed(data.test.data), data.test.target), 2)


def main():
    """Measure speed and accuracy, print a table, write the JSON."""
    args = arguments(__doc__)
    before = host()
    tensors = images(NAME, BATCH, 4 * args.share)
    cases = contenders(NAME, BATCH, tensors)
    quantised = {}
    sets = {
        name: load_image_folder(Path(os.environ["SKTL_TEST_DATA"]) / name)
        for name in SETS
    }
    if has_module("nncf"):
        for name, data in sets.items():
            step = max(1, len(data.train.data) // N_CALIBRATION)
            quantised[name] = int8_network(prepared(data.train.data[::step]))
        cases["openvino int8 (NNCF), direct"] = lambda: embed_int8(
            *quantised[SETS[0]], tensors
        )
    timed = interleaved(cases, args.repeats)
    rows = []
    for case, measured in timed.items():
        row = {
            "contender": case,
            "images/s": len(tensors) / measured["median"],
            "x timm": timed["timm float32, plain loop"]["median"] / measured["median"],
        }
        for name, data in sets.items():
            if case.startswith("sktl"):
                _, engine, precision = case.split()
                features = PretrainedFeatures(
                    NAME, engine=engine, precision=precision, cache=None
                )
                row[name] = accuracy_of(features.fit_transform, data)
            elif "int8" in case:
                row[name] = accuracy_of(
                    lambda paths, name=name: embed_int8(
                        *quantised[name], prepared(paths)
                    ),
                    data,
                )
        rows.append({**row, "seconds": measured})
    notes = [f"{NAME}, batches of {BATCH}, {len(tensors)} prepared images."]
    publish("throughput_lite", rows, notes, args, before)


if __name__ == "__main__":
    main()
