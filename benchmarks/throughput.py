"""Forward passes per second: sktl's engines against plain use of the same networks.

Images are prepared in advance, so only the network counts. Every contender gets the
same images in the same batches, and all threads that torch has.

Run with: python benchmarks/throughput.py
"""

import threading
import time

import numpy as np
import torch
from _frame import arguments, host, interleaved, publish

from sktl._extras import has_module
from sktl.backbones import resolve
from sktl.engine import FrozenPart, activations

NETWORKS = [
    "resnet18",
    "resnet50",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "vit_b_16",
    "pocket",
    "efficientnet_lite0",
]
TIMM = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "efficientnet_b0": "efficientnet_b0",
    "vit_b_16": "vit_base_patch16_224",
    "efficientnet_lite0": "tf_efficientnet_lite0",
}
BATCHES = [1, 8, 32]
# Each run takes about this long for the naive contender.
SECONDS = 1.0
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Prepared:
    """Rows whose pixels are already prepared."""

    scaled = False

    def __init__(self, tensors):
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors)

    def fingerprint(self, i):
        """Return what distinguishes a row from others."""
        return i.to_bytes(16, "little")

    def where(self, i):
        """Return the name of a row for messages."""
        return f"row {i}"

    def prepare(self, i, recipe, value_range=None):
        """Return the pixels of a row."""
        return self.tensors[i]


def batches(tensors, size):
    """Yield batches of uint8 images."""
    for start in range(0, len(tensors), size):
        yield torch.stack(tensors[start : start + size])


def naive(network, recipe, tensors, size):
    """Run plain torch under inference_mode."""
    with torch.inference_mode():
        for batch in batches(tensors, size):
            network(recipe.normalise(batch.to(DEVICE))).cpu()


def with_autograd(network, recipe, tensors, size):
    """Run plain torch without switching gradients off, as embetter does."""
    for batch in batches(tensors, size):
        network(recipe.normalise(batch.to(DEVICE))).detach().cpu()


def direct_openvino(network, recipe, size, precision):
    """Return a run of OpenVINO as its manual shows it: fixed batch, two streams."""
    import openvino

    shape = [size, recipe.channels, *recipe.size]
    model = openvino.convert_model(
        network, example_input=torch.zeros(shape), input=[openvino.PartialShape(shape)]
    )
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled)

    def run(tensors):
        for batch in batches(tensors, size):
            queue.start_async([recipe.normalise(batch).numpy()])
        queue.wait_all()

    return run


def direct_bfloat16(network, recipe):
    """Return a run of plain torch in bfloat16 and channels_last."""
    import copy

    short = copy.deepcopy(network).to(
        dtype=torch.bfloat16, memory_format=torch.channels_last
    )

    def run(tensors, size):
        with torch.inference_mode():
            for batch in batches(tensors, size):
                x = recipe.normalise(batch.to(DEVICE)).to(
                    torch.bfloat16, memory_format=torch.channels_last
                )
                short(x).float().cpu()

    return run


def chosen(name):
    """Return a backbone with its weights, where they need no download, or random."""
    offline = name in ("pocket", "efficientnet_lite0")
    return resolve(name) if offline else resolve(name, weights=None, random_state=0)


def contenders(name, size, tensors):
    """Return the contenders by name."""
    backbone = chosen(name)
    info, network = backbone.info, backbone.load()
    if DEVICE != "cpu":
        import copy

        network = copy.deepcopy(network).to(DEVICE)
    recipe, rows = info.recipe, Prepared(tensors)

    def sktl(engine, precision):
        part = FrozenPart(
            backbone, info.stages[-1:], "avg", recipe, None, precision, engine
        )
        if engine == "openvino":
            from sktl.engine._openvino_runner import openvino_runner

            openvino_runner(part, torch.get_num_threads(), convert=True)
        return lambda: activations(rows, part, cache=None, batch_size=size)

    bfloat16 = direct_bfloat16(network, recipe)
    cases = {
        "torch float32, naive": lambda: naive(network, recipe, tensors, size),
        "torch float32, gradients on": lambda: with_autograd(
            network, recipe, tensors, size
        ),
        "sktl torch float32": sktl("torch", "float32"),
        "torch bfloat16, channels_last": lambda: bfloat16(tensors, size),
        "sktl torch bfloat16": sktl("torch", "bfloat16"),
    }
    if name in TIMM and has_module("timm"):
        import timm

        other = timm.create_model(TIMM[name], pretrained=False, num_classes=0)
        other = other.eval().to(DEVICE)
        cases["timm float32, plain loop"] = lambda: naive(other, recipe, tensors, size)
    if DEVICE == "cpu" and has_module("openvino"):
        plain = direct_openvino(network, recipe, size, "f32")
        short = direct_openvino(network, recipe, size, "bf16")
        cases["openvino float32, direct"] = lambda: plain(tensors)
        cases["sktl openvino float32"] = sktl("openvino", "float32")
        cases["openvino bfloat16, direct"] = lambda: short(tensors)
        cases["sktl openvino bfloat16"] = sktl("openvino", "bfloat16")
    return cases


def images(name, size, seconds):
    """Return enough images to keep the naive contender busy for ``seconds``."""
    backbone = chosen(name)
    recipe = backbone.info.recipe
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (recipe.channels, *recipe.size), dtype=np.uint8)
    start = time.perf_counter()
    network = backbone.load()
    if DEVICE != "cpu":
        return [torch.from_numpy(image.copy()) for _ in range(16 * size)]
    naive(network, recipe, [torch.from_numpy(image)] * 8, min(size, 8))
    start = time.perf_counter()
    naive(network, recipe, [torch.from_numpy(image)] * 8, min(size, 8))
    rate = 8 / (time.perf_counter() - start)
    # At least two batches, so that both streams have one.
    n = max(2, round(rate * seconds / size)) * size
    return [
        torch.from_numpy(rng.integers(0, 256, image.shape, dtype=np.uint8))
        for _ in range(min(n, 2048))
    ]


def main():
    """Measure every network at every batch size."""
    args = arguments(__doc__)
    before, rows = host(), []
    sizes = [8] if args.quick else BATCHES
    for name in ["resnet18", "pocket"] if args.quick else NETWORKS:
        for size in sizes if DEVICE == "cpu" else [256]:
            tensors = images(name, size, SECONDS * args.share)
            cases = contenders(name, size, tensors)
            times = interleaved(cases, args.repeats)
            first = times["torch float32, naive"]
            for case, seconds in times.items():
                rows.append(
                    {
                        "network": name,
                        "batch": size,
                        "contender": case,
                        "images/s": len(tensors) / seconds["median"],
                        "x naive": first["median"] / seconds["median"],
                        "x naive, cpu": first["cpu"] / seconds["cpu"],
                        "seconds": seconds,
                    }
                )
            print(f"{name}, batches of {size}: done", flush=True)
    assert threading.active_count() < 50
    notes = [
        "Random weights, prepared images. 'x naive' is the speed relative to plain "
        "torch under inference_mode in the same batches.",
        "'x naive, cpu' compares the processor time of all threads, not the clock.",
        "sktl runs in streams of one thread, each in batches of the size given.",
        "embetter and img2vec_pytorch take files or pictures, not prepared images: see "
        "end_to_end.",
    ]
    name = "throughput" if DEVICE == "cpu" else "throughput_gpu"
    publish(name, rows, notes, args, before)


if __name__ == "__main__":
    main()
