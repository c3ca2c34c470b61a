"""Write the tables of facts: of our own networks and of the installed torchvision.

Run ``python -m sktl.backbones._make_table`` after a family was added, torchvision has
new weights, or a file in ``weights/`` has changed. No weights are downloaded: networks
are built on torch's meta device, where shapes are real and numbers are not.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import partial
from importlib.metadata import version
from pathlib import Path

from torchvision import models

from sktl.backbones import _own
from sktl.backbones._build import build_empty
from sktl.backbones._describe import describe
from sktl.backbones._staged import StagedNetwork, carve
from sktl.backbones._torchvision_families import Family, family_of
from sktl.images import Recipe

TABLE = Path(__file__).with_name("_torchvision_table.json")
OWN_TABLE = Path(__file__).with_name("_own_table.json")
TASKS = {
    "classification": models,
    "detection": models.detection,
    "segmentation": models.segmentation,
}
# Detectors see shorter sides of 800 px and segmenters of 520 px when they work as
# published; for one embedding of an image that would cost thirteen and five times what
# 224 px cost. 320 px keep the objects of a photograph within the sizes they know.
# SSD and SSDlite come first with the fixed size they were trained at.
SIZES = {"ssd300": 300, "ssdlite320": 320}
DENSE_SIZE = 320


def make_table() -> dict:
    """Return the table as it belongs to the installed torchvision."""
    backbones = {
        name: facts_of(name) for task in TASKS.values() for name in listed(task)
    }
    release = ".".join(version("torchvision").split("+")[0].split(".")[:2])
    return {"torchvision": release, "backbones": backbones}


def listed(module) -> list[str]:
    """Return the names of the models of a module of torchvision."""
    return sorted(models.list_models(module=module))


def facts_of(name: str) -> dict:
    """Return the facts of the network called ``name``."""
    family = family_of(name)
    task = next(task for task, module in TASKS.items() if name in listed(module))
    weights = sorted(models.get_model_weights(name), key=_preference)
    recipe = _recipe(name, task, weights[0])
    facts = {
        "family": family.name,
        "year": family.year,
        "task": task,
        **_measured(name, family, weights[0], recipe),
        "recipe": recipe,
        "weights": {},
    }
    for entry in weights:
        facts["weights"][entry.name] = _published(name, family, task, entry, facts)
    return facts


def _preference(entry) -> tuple:
    # IMAGENET1K_V1 first where both exist: the longer training recipe of V2 raises
    # the published accuracy and lowers the worth of frozen features (Kornblith et al.,
    # "Do better ImageNet models transfer better?", 2019).
    order = ("IMAGENET1K_V1", "COCO_V1")
    return (entry.name not in order, entry.name)


def _published(name: str, family: Family, task: str, entry, facts: dict) -> dict:
    """Return what is known of one weights file, beyond the facts of its network."""
    file = entry.url.rsplit("/", 1)[-1]
    accuracy = entry.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1")
    known = {
        "file": file,
        "url": entry.url,
        "prefix": re.search(r"-([0-9a-f]{8,})\.", file)[1],
        "mb": entry.meta["_file_size"],
        # Weights without a classifier say "not a number".
        "top1": accuracy if accuracy == accuracy else None,
    }
    recipe = _recipe(name, task, entry)
    differences = {k: v for k, v in recipe.items() if v != facts["recipe"][k]}
    if differences:
        known["recipe"] = differences
    if build := _build(family, entry):
        known["build"] = build
    measured = _measured(name, family, entry, recipe)
    if others := {k: v for k, v in measured.items() if v != facts[k]}:
        known["facts"] = others
    return known


def _build(family: Family, entry) -> dict:
    """Return the arguments that these weights ask of the builder."""
    if family.name == "ViT" and entry.meta["min_size"][0] != 224:
        return {"image_size": entry.meta["min_size"][0]}
    return {}


def _recipe(name: str, task: str, entry) -> dict:
    """Return the published preparation of a weights file."""
    if task == "classification":
        preset = entry.transforms()
        size, resize = preset.crop_size[0], preset.resize_size[0]
        recipe = Recipe(
            (size, size),
            resize,
            preset.interpolation.value,
            mean=preset.mean,
            std=preset.std,
        )
    elif fixed := SIZES.get(name.split("_")[0]):
        transform = build_empty(
            partial(models.get_model, name, weights=None, weights_backbone=None)
        ).transform
        recipe = Recipe(
            (fixed, fixed), None, mean=transform.image_mean, std=transform.image_std
        )
    else:
        recipe = Recipe((DENSE_SIZE, DENSE_SIZE), DENSE_SIZE)
    return {
        "size": list(recipe.size),
        "resize": recipe.resize,
        "interpolation": recipe.interpolation,
        "mean": [round(value, 9) for value in recipe.mean],
        "std": [round(value, 9) for value in recipe.std],
    }


def _measured(name: str, family: Family, entry, recipe: dict) -> dict:
    """Return what follows from the architecture, measured on the meta device."""
    arguments = {**family.build, **family.build_published, **_build(family, entry)}
    model = build_empty(partial(models.get_model, name, weights=None, **arguments))
    plan = family.plan(model)
    if entry.name == "IMAGENET1K_FEATURES":
        # These come without a usable classifier, hidden layers included.
        plan = {k: v for k, v in plan.items() if not k.startswith("fc")}
    network = StagedNetwork(
        carve(model, plan), None, family.layout, family.n_prefix_tokens
    )
    return describe(network.eval().to("meta"), tuple(recipe["size"]))


def as_text(table: dict) -> str:
    """Return the table as JSON, with each list of numbers or names on one line."""
    text = json.dumps(table, indent=1)
    short = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    return short.replace("[ ", "[").replace(" ]", "]") + "\n"


def make_own_table() -> dict:
    """Return the table of our own networks and the weights that lie beside them."""
    return {name: own_facts_of(name) for name in _own.names()}


def own_facts_of(name: str) -> dict:
    """Return the facts of one network of ours, read off its class and its file."""
    source, recipe = _own.OwnSource(name), _own.recipe_of(name)
    model = build_empty(partial(source.model, None, random=True))
    stages = {stage: stage for stage, _ in model.named_children() if stage != "head"}
    network = StagedNetwork(carve(model, stages), None).eval().to("meta")
    facts = describe(network, recipe.size, recipe.channels)
    file = Path(__file__).with_name("weights") / f"{name}.safetensors"
    if file.is_file():
        content = file.read_bytes()
        facts["sha256"] = hashlib.sha256(content).hexdigest()
        facts["mb"] = float(f"{len(content) / 1e6:.3g}")
    return facts


if __name__ == "__main__":
    for path, make in ((OWN_TABLE, make_own_table), (TABLE, make_table)):
        text = as_text(make())
        path.write_text(text)
        print(f"{path.name}: {len(text)} characters")
