"""What is known about a backbone before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass

from sktl.images import Recipe


@dataclass(frozen=True)
class BackboneInfo:
    """The facts about one backbone, as :func:`sktl.get_backbone` returns them.

    Attributes
    ----------
    name : str
        The name to give to an estimator's ``backbone`` parameter.
    family : str
        The line of architectures it belongs to, such as ``"ResNet"``.
    year : int or None
        When its paper appeared.
    source : {"bundled", "own", "torchvision", "timm", "module"}
        Where the architecture comes from. The weights of ``"bundled"`` backbones are
        inside the package.
    task : {"classification", "detection", "segmentation"}
        What the published weights were trained for.
    stages : tuple of str
        Names of the stages, from the pixels to the embedding. The output of the
        last one, flattened, is the embedding.
    widths : tuple of int
        Channels of the output of each stage.
    recipe : Recipe
        How the images are prepared for the published weights.
    n_features : int
        Length of the embedding.
    n_parameters : int
        Number of parameters behind the embedding; the classifier is not counted.
    gflops : float or None
        Billions of multiply-adds for one embedding at the size of the recipe.
    top1 : float or None
        Published ImageNet top-1 accuracy of the default weights, in percent.
    weight_mb : float or None
        Size of the default weights file in MB.
    weights : tuple of str
        Names that ``weights`` accepts besides ``"default"``, the default one first.

    Examples
    --------
    >>> from sktl import get_backbone
    >>> info = get_backbone("resnet18")
    >>> info.stages
    ('stem', 'stage1', 'stage2', 'stage3', 'stage4', 'pool')
    >>> info.n_features, info.recipe.size
    (512, (224, 224))
    """

    name: str
    family: str
    year: int | None
    source: str
    task: str
    stages: tuple[str, ...]
    widths: tuple[int, ...]
    recipe: Recipe
    n_features: int
    n_parameters: int
    gflops: float | None = None
    top1: float | None = None
    weight_mb: float | None = None
    weights: tuple[str, ...] = ()
