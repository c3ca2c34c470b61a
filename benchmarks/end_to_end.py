"""From JPEG files to embeddings: how much of the network's speed remains.

1,000 JPEGs of 500 x 375 pixels, decoded, resized, cropped and embedded.

Run with: python benchmarks/end_to_end.py
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _frame import arguments, host, interleaved, publish
from PIL import Image
from throughput import Prepared

from sktl._extras import has_module
from sktl.backbones import resolve
from sktl.engine import FrozenPart, activations
from sktl.images import ImageRows

NETWORKS = ["resnet18", "mobilenet_v3_small", "pocket"]


def make_files(folder, n):
    """Write photograph-like JPEGs: smooth colours, edges and some noise; 45 kB each."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(n):
        small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC)
        pixels = np.asarray(smooth, dtype=np.int16) + rng.integers(
            -12, 12, (375, 500, 1)
        )
        left, top = rng.integers(0, 300, 2)
        pixels[top : top + 90, left : left + 120] //= 2
        paths.append(folder / f"{i:04}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            paths[-1], quality=88
        )
    return paths


def usual_way(network, paths, recipe, size):
    """Embed with torchvision's own transform and a plain loop."""
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.Resize(recipe.resize or list(recipe.size)),
            v2.CenterCrop(recipe.size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(recipe.mean, recipe.std),
        ]
    )
    with torch.inference_mode():
        for start in range(0, len(paths), size):
            some = paths[start : start + size]
            opened = (Image.open(path).convert("RGB") for path in some)
            network(torch.stack([transform(image) for image in opened]))


def others(paths, name):
    """Return other packages that do the same, if they are installed."""
    cases = {}
    if name != "resnet18":
        return cases
    try:
        import timm
        from embetter.vision import ImageLoader, TimmEncoder

        create = timm.create_model
        timm.create_model = lambda n, pretrained=True, **k: create(n, False, **k)
        encoder, loader = TimmEncoder("resnet18"), ImageLoader()
        timm.create_model = create
        texts = [str(path) for path in paths]
        cases["embetter"] = lambda: encoder.transform(loader.transform(texts))
    except ImportError:
        pass
    try:
        from img2vec_pytorch import Img2Vec, img_to_vec

        plain = img_to_vec.resnet18
        img_to_vec.resnet18 = lambda weights=None: plain(weights=None)
        img2vec = Img2Vec(model="resnet18")
        img_to_vec.resnet18 = plain
        cases["img2vec_pytorch"] = lambda: [
            img2vec.get_vec(Image.open(path).convert("RGB")) for path in paths
        ]
    except ImportError:
        pass
    return cases


def main():
    """Measure forward passes alone, decoding alone, and both together."""
    args = arguments(__doc__)
    n, before, rows = int(1000 * args.share), host(), []
    n_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_files(Path(folder), n)
        size = sum(path.stat().st_size for path in paths) / n
        images = ImageRows.of(paths)
        for name in NETWORKS:
            weights = {} if name == "pocket" else {"weights": None, "random_state": 0}
            backbone = resolve(name, **weights)
            info, recipe = backbone.info, backbone.info.recipe
            network = backbone.load()
            prepared = Prepared([images.prepare(i, recipe) for i in range(n)])

            def decode(i, recipe=recipe):
                torch.set_num_threads(1)
                return images.prepare(i, recipe)

            def decode_all(decode=decode):
                with ThreadPoolExecutor(n_threads) as pool:
                    list(pool.map(decode, range(n)))
                torch.set_num_threads(n_threads)

            def runs(rows_, engine, precision, backbone=backbone, info=info):
                part = FrozenPart(
                    backbone,
                    info.stages[-1:],
                    "avg",
                    info.recipe,
                    None,
                    precision,
                    engine,
                )
                if engine == "openvino":
                    from sktl.engine._openvino_runner import openvino_runner

                    openvino_runner(part, n_threads, convert=True)
                return lambda: activations(rows_, part, cache=None)

            cases = {"decoding alone": decode_all}
            kinds = [("torch", "float32"), ("torch", "bfloat16")]
            if has_module("openvino"):
                kinds += [("openvino", "float32"), ("openvino", "bfloat16")]
            for kind in kinds:
                words = " ".join(kind)
                cases[f"forward alone, {words}"] = runs(prepared, *kind)
                cases[f"sktl, {words}"] = runs(images, *kind)
            cases["plain loop, batches of 32"] = partial(
                usual_way, network, paths, recipe, 32
            )
            cases.update(others(paths, name))
            times = interleaved(cases, args.repeats)
            for case, seconds in times.items():
                row = {
                    "network": name,
                    "contender": case,
                    "images/s": n / seconds["median"],
                    "x forward alone": None,
                    "x best possible": None,
                    "seconds": seconds,
                }
                if case.startswith("sktl, "):
                    alone = times["forward alone, " + case[6:]]["median"]
                    decoding = times["decoding alone"]["median"]
                    row["x forward alone"] = alone / seconds["median"]
                    # Both use the same cores, so their times add up.
                    row["x best possible"] = (alone + decoding) / seconds["median"]
                rows.append(row)
            print(f"{name}: done", flush=True)
    notes = [
        f"{n} JPEGs of {size / 1000:.0f} kB; {n_threads} threads for every contender.",
        "'x forward alone': speed relative to the same engine on prepared images. "
        "'x best possible': relative to decoding and running one after the other at "
        "full speed on all cores, which is the limit since both need them.",
    ]
    publish("end_to_end", rows, notes, args, before)


if __name__ == "__main__":
    main()
