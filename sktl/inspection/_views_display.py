"""``ViewsDisplay``: what augmentation makes of images."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sktl.features import AugmentedEstimator
from sktl.images import (
    ImageRows,
    Recipe,
    ViewRows,
    Views,
    learn_value_range,
    variation_of,
)
from sktl.inspection._fitted_steps import images_for, is_fine_tuned, steps_of
from sktl.inspection._panel import INK, Panel, cell_size
from sktl.inspection._thumbnails import as_seen

_SIDE = 0.95  # of a picture, in inches
_MOST_PIXELS = 192


@dataclass(eq=False, repr=False)
class ViewsDisplay:
    """Images beside the views that augmentation draws of them.

    Look whether a person would still give them the same label. Make the display with
    :meth:`from_images`, or :meth:`from_estimator` for the views of a fit.

    Parameters
    ----------
    pictures : list of list of ndarray of shape (h, w, 3), dtype uint8
        For each image the image itself, and then its views.

    names : list of str
        What to call the images: their rows of X, with their paths if they have any.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where the pictures are drawn.

    text_ : list of list of matplotlib Text
        The line under each image and its views.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.inspection import ViewsDisplay
    >>> X = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    >>> display = ViewsDisplay.from_images(X, augment={"shift": 0.2}, n_images=2)
    >>> len(display.pictures), len(display.pictures[0]), display.names
    (2, 6, ['row 0', 'row 8'])
    """

    pictures: list[list[np.ndarray]]
    _: KW_ONLY
    names: list[str]

    @classmethod
    def from_images(
        cls,
        X,
        *,
        augment="light",
        n_images=4,
        n_views=6,
        random_state=0,
        image_shape=None,
        **plot_params,
    ) -> ViewsDisplay:
        """Draw views of images, at the size of the images.

        Parameters
        ----------
        X : array-like of images
            The images; of more than ``n_images``, some are taken at equal distances.

        augment : {"none", "light", "strong"}, dict or callable, default="light"
            How the views are varied, as in :class:`~sktl.FineTunedClassifier`.

        n_images : int, default=4
            Images to show.

        n_views : int, default=6
            Pictures of each: the image itself and ``n_views - 1`` variations.

        random_state : int, default=0
            Seed of the variations.

        image_shape : tuple of int or None, default=None
            As in :class:`~sktl.PretrainedFeatures`.

        **plot_params : dict
            Passed to :meth:`plot`, such as ``ax``.

        Returns
        -------
        display : ViewsDisplay
            The display, drawn.
        """
        images = _some(ImageRows.of(X, image_shape=image_shape), n_images)
        views = Views(X, _checked(augment), n_views, random_state).rows(images)
        return cls.compute(views).plot(**plot_params)

    @classmethod
    def from_estimator(cls, estimator, X, *, n_images=4, **plot_params) -> ViewsDisplay:
        """Draw views as an estimator was fitted to them, and as its network sees them.

        Parameters
        ----------
        estimator : fitted estimator
            A fine-tuned estimator or an :class:`~sktl.AugmentedEstimator`, or a
            pipeline or a search around it. Of one that varies images again in every
            epoch, six examples are shown. A fine-tuned one with a ``RandomState`` keeps
            no seed: its views are others of the same kind.

        X : array-like of images
            The images; of more than ``n_images``, some are taken at equal distances.

        n_images : int, default=4
            Images to show.

        **plot_params : dict
            Passed to :meth:`plot`, such as ``ax``.

        Returns
        -------
        display : ViewsDisplay
            The display, drawn.
        """
        images = _some(images_for(estimator, X), n_images)
        augmented = estimator
        while isinstance(augmented, Pipeline) or hasattr(augmented, "best_estimator_"):
            is_pipeline = isinstance(augmented, Pipeline)
            augmented = augmented[-1] if is_pipeline else augmented.best_estimator_
        if isinstance(augmented, AugmentedEstimator):
            _checked(augmented.augment)
            drawn = augmented.views_of(X, augmented.seed_)
            if not isinstance(drawn, Views):
                raise ValueError(
                    "AugmentedEstimator was fitted to the images alone: n_views is 1, "
                    "or the rows of the table are not pictures."
                )
            views = drawn.rows(images)
            part = getattr(steps_of(augmented)[0].estimator, "_part", None)
        else:
            net = steps_of(estimator)[-1].estimator
            if not is_fine_tuned(net):
                raise ValueError(
                    f"{type(net).__name__} draws no views of images. Pass a fine-tuned "
                    "estimator or an AugmentedEstimator, or use from_images."
                )
            from sktl.finetune import Seeds

            seed = Seeds.of(clone(net).random_state).views
            views = Views(X, _checked(net.augment), net.n_views or 6, seed).rows(images)
            part = net.embedding_part_
        seen = (part.recipe, part.value_range) if part else ()
        return cls.compute(views, *seen).plot(**plot_params)

    @classmethod
    def compute(
        cls, views: ViewRows, recipe: Recipe | None = None, value_range=None
    ) -> ViewsDisplay:
        """Return the display of views, at their own size without a recipe."""
        images, n_views = views.images, len(views.numbers)
        if recipe is None:
            value_range = learn_value_range(images)
        pictures = []
        for i in range(len(images)):
            seen = recipe or _at_its_size(images[i])
            rows = range(i * n_views, (i + 1) * n_views)
            pictures.append([as_seen(views, row, seen, value_range) for row in rows])
        return cls(pictures, names=[images.where(i) for i in range(len(images))])

    def plot(self, ax=None) -> ViewsDisplay:
        """Draw a line of pictures for each image: the image, and then its views.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, as many as there is room for; None makes a figure.

        Returns
        -------
        display : ViewsDisplay
            The display itself.
        """
        n, n_views = len(self.pictures), max(map(len, self.pictures))
        cell = cell_size(_SIDE, n_views, n_lines=1)
        panel = Panel("ViewsDisplay.plot", ax, max(cell[0], 4) + 0.3, n * cell[1] + 0.5)
        self.ax_, self.figure_ = panel.ax, panel.figure
        while n_views > 2 and cell[0] > panel.width - 0.3 + 1e-6:
            n_views -= 1
            cell = cell_size(_SIDE, n_views, n_lines=1)
        self.title_ = panel.title("Each image, and views of it")
        items = (
            (pictures[:n_views], [(name, INK)])
            for pictures, name in zip(self.pictures, self.names, strict=True)
        )
        self.text_ = panel.gallery(items, n, cell, _SIDE, top=panel.top)
        return self


def _checked(augment):
    """Return the variation that ``augment`` asks for; refuse none."""
    if (variation := variation_of(augment)) is None:
        raise ValueError(
            f"augment={augment!r} varies nothing, so all views are the image itself. "
            "ViewsDisplay.from_images(X, augment=...) shows those of another one."
        )
    return variation


def _some(images: ImageRows, n: int) -> ImageRows:
    """Return at most ``n`` of the images, at equal distances."""
    n = min(n, len(images))
    return images.take(np.linspace(0, len(images) - 1, n).round().astype(int))


def _at_its_size(pixels: np.ndarray) -> Recipe:
    """Return the recipe that keeps the shape of an image, if it is not large."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _MOST_PIXELS / max(height, width))
    return Recipe((max(1, round(height * scale)), max(1, round(width * scale))), None)
