"""Write the table of facts: of our own networks and of the installed torchvision.

Run ``python tests/backbones/make_facts.py`` after you have added a family, torchvision
has new weights, or a file in ``sktl/backbones/weights/`` has changed; ``test_facts.py``
says when that is. No weights are downloaded: networks are built on torch's meta device,
where shapes are real and numbers are not.
"""

import json
import re
from functools import partial
from importlib.metadata import version
from pathlib import Path

from torchvision import models

import sktl.backbones
from sktl.backbones._families import FAMILIES, Family, family_of
from sktl.backbones._loading import build_empty
from sktl.backbones._staged import measure
from sktl.backbones._weights import WeightsFile, sha256
from sktl.images import Recipe

TABLE = Path(sktl.backbones.__file__).with_name("_facts.json")
OWN = {family.pattern: family for family in FAMILIES if family.build is not None}
TORCHVISION = {
    name: task
    for task, module in {
        "classification": models,
        "detection": models.detection,
        "segmentation": models.segmentation,
    }.items()
    for name in sorted(models.list_models(module=module))
}
# Detectors see shorter sides of 800 px and segmenters of 520 px when they work as
# published; for one embedding of an image that would cost thirteen and five times what
# 224 px cost. 320 px keep the objects of a photograph within the sizes they know.
# SSD and SSDlite come first with the fixed size they were trained at.
SIZES = {"ssd300": 300, "ssdlite320": 320}
DENSE_SIZE = 320


def make_table() -> dict:
    """Return the table that belongs to the installed torchvision."""
    return {
        "torchvision": ".".join(version("torchvision").split(".")[:2]),
        "backbones": {name: facts_of(name) for name in [*OWN, *TORCHVISION]},
    }


def facts_of(name: str) -> dict:
    """Return the facts of the network called ``name``, as JSON gives them back."""
    facts = own_facts_of(name) if name in OWN else torchvision_facts_of(name)
    return json.loads(json.dumps(facts))


def own_facts_of(name: str) -> dict:
    """Return the facts of a network of ours, read off its class and its files."""
    family = OWN[name]
    weights = {}
    for published, known in family.weights.items():
        where = {key: known[key] for key in ("package", "file")}
        path = WeightsFile(sha256="", **where).find()
        size = float(f"{path.stat().st_size / 1e6:.3g}")
        weights[published] = {**known, "sha256": sha256(path), "mb": size}
    packages = {known.get("package") for known in family.weights.values()}
    return {
        "family": family.name,
        "year": family.year,
        "source": "bundled" if packages == {"sktl"} else "own",
        "task": "classification",
        **_measured(name, family, family.recipe),
        "recipe": _recipe_facts(family.recipe),
        "weights": weights,
    }


def torchvision_facts_of(name: str) -> dict:
    """Return the facts of a network of torchvision."""
    family = family_of(name)
    entries = sorted(models.get_model_weights(name), key=_preference)
    recipe = _recipe(name, entries[0])
    facts = {
        "family": family.name,
        "year": family.year,
        "source": "torchvision",
        "task": TORCHVISION[name],
        **_measured(name, family, recipe, entries[0]),
        "recipe": _recipe_facts(recipe),
    }
    weights = {entry.name: _published(name, family, entry, facts) for entry in entries}
    return {**facts, "weights": weights}


def _preference(entry) -> tuple:
    # IMAGENET1K_V1 first where both exist: the longer training recipe of V2 raises
    # the published accuracy and lowers the worth of frozen features (Kornblith et al.,
    # "Do better ImageNet models transfer better?", 2019).
    order = ("IMAGENET1K_V1", "COCO_V1")
    return (entry.name not in order, entry.name)


def _published(name: str, family: Family, entry, facts: dict) -> dict:
    """Return what is known of one weights file, beyond the facts of its network."""
    file = entry.url.rsplit("/", 1)[-1]
    accuracy = entry.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1")
    known = {
        "file": file,
        "url": entry.url,
        "sha256": re.search(r"-([0-9a-f]{8,})\.", file)[1],
        "mb": entry.meta["_file_size"],
        # Weights without a classifier say "not a number".
        "top1": accuracy if accuracy == accuracy else None,
    }
    recipe = _recipe(name, entry)
    differences = {
        key: value
        for key, value in _recipe_facts(recipe).items()
        if value != facts["recipe"][key]
    }
    if differences:
        known["recipe"] = differences
    if build := _build(family, entry):
        known["build"] = build
    measured = _measured(name, family, recipe, entry)
    if others := {key: v for key, v in measured.items() if v != facts[key]}:
        known["facts"] = others
    return known


def _build(family: Family, entry) -> dict:
    """Return the arguments that these weights ask of the builder."""
    if family.name == "ViT" and entry.meta["min_size"][0] != 224:
        return {"image_size": entry.meta["min_size"][0]}
    return {}


def _recipe(name: str, entry) -> Recipe:
    """Return the published preparation of images for a weights file."""
    if TORCHVISION[name] == "classification":
        preset = entry.transforms()
        return Recipe(
            (preset.crop_size[0],) * 2,
            preset.resize_size[0],
            preset.interpolation.value,
            mean=preset.mean,
            std=preset.std,
        )
    fixed = SIZES.get(name.split("_")[0])
    if fixed is None:
        return Recipe((DENSE_SIZE, DENSE_SIZE), DENSE_SIZE)
    build = partial(models.get_model, name, weights=None, weights_backbone=None)
    transform = build_empty(build).transform
    return Recipe(
        (fixed, fixed), None, mean=transform.image_mean, std=transform.image_std
    )


def _recipe_facts(recipe: Recipe) -> dict:
    """Return a recipe as plain data."""
    channels = {} if recipe.channels == 3 else {"channels": recipe.channels}
    return {
        "size": list(recipe.size),
        "resize": recipe.resize,
        "interpolation": recipe.interpolation,
        **channels,
        "mean": [round(value, 9) for value in recipe.mean],
        "std": [round(value, 9) for value in recipe.std],
    }


def _measured(name: str, family: Family, recipe: Recipe, entry=None) -> dict:
    """Return what follows from the architecture, measured on the meta device."""
    arguments = {} if entry is None else _build(family, entry)
    model = build_empty(partial(family.network, name, random=True, **arguments))
    network = family.cut(model)
    if entry is not None and entry.name == "IMAGENET1K_FEATURES":
        # These come without a usable classifier, hidden layers included.
        before = tuple(name for name in network.stages if not name.startswith("fc"))
        network = family.cut(model, before)
    return measure(network.eval().to("meta"), recipe)


def as_text(table: dict) -> str:
    """Return the table as JSON, with each list of numbers or names on one line."""
    text = json.dumps(table, indent=1)
    short = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    return short.replace("[ ", "[").replace(" ]", "]") + "\n"


if __name__ == "__main__":
    TABLE.write_text(as_text(make_table()))
    print(f"{TABLE}: {TABLE.stat().st_size} characters")
