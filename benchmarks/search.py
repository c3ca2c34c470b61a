"""Grid search over frozen features: what each tool costs, and how often it embeds.

Images of 96 px, 2 backbones x 8 values of C x 5 folds and a refit. The ideal embeds
each image once in a plain torch loop and searches on arrays. sktl should come close to
it with an ordinary ``GridSearchCV``. Weights are random, since they do not affect the
time.

Run with: python benchmarks/search.py
"""

import contextlib
import tempfile
import time
import warnings

import numpy as np
import torch
from _frame import arguments, host, interleaved, publish, summary
from joblib.externals.loky import get_reusable_executor
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import EmbeddingStore, PretrainedFeatures
from sktl.backbones import resolve
from sktl.engine import images_embedded
from sktl.images import ImageRows
from sktl.model_selection import prime

BACKBONES = ["resnet18", "resnet34"]
SIZE = 96
C = list(np.logspace(-4, 1, 8))
NEW_WARM = "sktl, warm, n_jobs=2, new workers"
RUNNING_WARM = "sktl, warm, n_jobs=2, running workers"
NEW_COLD = "sktl, cold, n_jobs=2, new workers"
PRIMED = "sktl, cold, prime, then n_jobs=2, new workers"


def data(n):
    """Return images that differ by class, and their classes."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 4
    X = rng.integers(0, 120, (n, SIZE, SIZE, 3), dtype=np.uint8)
    for image, label in zip(X, y, strict=True):
        image[:, :: label + 2] += 100
    return X, y


def search(first, name, values, X, y, cs=C, refit=True, memory=None, n_jobs=None):
    """Run the grid search with ``first`` as the first step of the pipeline."""
    head = LogisticRegression(max_iter=300)
    grid = {"logisticregression__C": cs}
    if first is None:
        pipeline = make_pipeline(StandardScaler(), head)
    else:
        pipeline = make_pipeline(first, StandardScaler(), head, memory=memory)
        grid[f"{pipeline.steps[0][0]}__{name}"] = values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GridSearchCV(pipeline, grid, cv=5, n_jobs=n_jobs, refit=refit).fit(X, y)


def features(cache):
    """Return the transformer under test."""
    return PretrainedFeatures(
        weights=None, random_state=0, image_size=SIZE, cache=cache
    )


def embed_plainly(X):
    """Return embeddings by each backbone from a plain torch loop in batches of 32."""
    found = []
    for name in BACKBONES:
        backbone = resolve(name, weights=None, random_state=0)
        network, recipe = backbone.load(), backbone.info.recipe.at(SIZE)
        rows, out = ImageRows.of(X), []
        with torch.inference_mode():
            for start in range(0, len(X), 32):
                batch = [
                    rows.prepare(i, recipe)
                    for i in range(start, min(start + 32, len(X)))
                ]
                out.append(network(recipe.normalise(torch.stack(batch))).numpy())
        found.append(np.concatenate(out))
    return found


def search_arrays(embedded, y):
    """Search on arrays, as often as the pipeline would."""
    scores = [search(None, None, None, Z, y).best_score_ for Z in embedded]
    return max(scores)


def embetter_case(X, y, cs):
    """Return a search with embetter's own encoder, and a counter; None without it."""
    try:
        import timm
        from embetter.vision import TimmEncoder
    except ImportError:
        return None
    counted = [0]
    create = timm.create_model

    def offline(name, pretrained=True, **kwargs):
        return create(name, pretrained=False, **kwargs)

    class Counting(TimmEncoder):
        def transform(self, X, y=None):
            counted[0] += len(X)
            return super().transform(X, y)

    images = [Image.fromarray(image) for image in X]

    def run():
        timm.create_model = offline
        try:
            search(Counting("resnet18"), "name", BACKBONES, images, y, cs, False)
        finally:
            timm.create_model = create

    return run, counted


def main():
    """Measure all contenders."""
    args = arguments(__doc__)
    n = 100 if args.quick else int(600 * args.share)
    X, y = data(n)
    before = host()
    unique = n * len(BACKBONES)
    warm = EmbeddingStore(tempfile.mkdtemp())
    counts = {}

    def sktl(cache, n_jobs=None):
        started = images_embedded()
        search(features(cache), "backbone", BACKBONES, X, y, n_jobs=n_jobs)
        return images_embedded() - started

    def cold(name, n_jobs=None, primed=False):
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddingStore(folder)
            if primed:
                grid = {"backbone": BACKBONES}
                prime(GridSearchCV(features(store), grid), X)
            sktl(store, n_jobs)
            counts[name] = store.info()["computed"]

    def with_new_workers(run):
        get_reusable_executor().shutdown(wait=True)
        run()

    embedded = embed_plainly(X)
    cases = {
        "ideal: embed once, search on arrays": lambda: search_arrays(
            embed_plainly(X), y
        ),
        "search on arrays alone": lambda: search_arrays(embedded, y),
        "sktl, cold": lambda: cold("sktl, cold"),
        "sktl, warm": lambda: sktl(warm),
        NEW_WARM: lambda: with_new_workers(lambda: sktl(warm, 2)),
        RUNNING_WARM: lambda: sktl(warm, 2),
        NEW_COLD: lambda: with_new_workers(lambda: cold(NEW_COLD, 2)),
        PRIMED: lambda: with_new_workers(lambda: cold(PRIMED, 2, primed=True)),
    }
    times = interleaved(cases, args.repeats)
    ideal = times["ideal: embed once, search on arrays"]["median"]
    arrays = times["search on arrays alone"]["median"]
    counts |= {"ideal: embed once, search on arrays": unique}
    rows = [
        {
            "contender": name,
            "seconds": times[name],
            "x ideal": times[name]["median"] / ideal,
            "x arrays": times[name]["median"] / arrays,
            "images embedded": counts.get(name, 0),
        }
        for name in cases
    ]
    # The others run the network again for every candidate, so their time grows in
    # proportion: one value of C shows what all eight cost.
    full = 5 * len(C) * len(BACKBONES) * n + n
    for name, run in others(X, y).items():
        started = time.perf_counter()
        count, share = run()
        seconds = (time.perf_counter() - started) / share
        count = round(count / share)
        seconds, count = seconds * (count + n) / count, count + n  # the refit
        rows.append(
            {
                "contender": name,
                "seconds": summary([seconds]),
                "x ideal": seconds / ideal,
                "x arrays": seconds / arrays,
                "images embedded": count,
            }
        )
    notes = [
        f"{n} images of {SIZE} px; {unique} are to be embedded, {full} would be "
        "without any cache, counting fit and score of each candidate and the refit.",
        "Contenders without a row cache were run once, on one of the eight values of C "
        "(Pipeline(memory=) on two) without the refit; images and seconds are scaled "
        "to the whole. All others ran in full, in interleaved repeats.",
        "'new workers': joblib's processes are started within the time measured; "
        "'running': an earlier search has left them.",
        "embetter runs timm's networks with random weights; everything else is its "
        "default.",
    ]
    publish("search", rows, notes, args, before)


def others(X, y):
    """Return the contenders that embed the same image many times."""

    def no_cache():
        started = images_embedded()
        search(features(None), "backbone", BACKBONES, X, y, C[:1], False)
        return images_embedded() - started, 1 / len(C)

    def pipeline_memory():
        started = images_embedded()
        with tempfile.TemporaryDirectory() as folder:
            search(features(None), "backbone", BACKBONES, X, y, C[:1], False, folder)
            search(features(None), "backbone", BACKBONES, X, y, C[1:2], False, folder)
        return images_embedded() - started, 2 / len(C)

    found = {"sktl, cache=None": no_cache, "Pipeline(memory=)": pipeline_memory}
    embetter = embetter_case(X, y, C[:1])
    if embetter is not None:
        run, counted = embetter

        def run_embetter():
            with contextlib.redirect_stdout(None):
                run()
            return counted[0], 1 / len(C)

        found["embetter"] = run_embetter
    return found


if __name__ == "__main__":
    main()
