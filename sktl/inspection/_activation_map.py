"""``ActivationMapDisplay``: where in an image the score of a class comes from."""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.base import is_classifier
from sklearn.utils import check_consistent_length

from sktl.exceptions import ActivationMapError
from sktl.features import PretrainedFeatures
from sktl.images import ImageRows
from sktl.inspection._affine import Affine, affine_of, affine_scores
from sktl.inspection._classes import codes_of, names_of
from sktl.inspection._estimators import (
    embeddings_of,
    is_fine_tuned,
    rows_for,
    steps_of,
)
from sktl.inspection._feature_maps import (
    FeatureMaps,
    maps_of_features,
    maps_of_fine_tuned,
)
from sktl.inspection._panel import BODY, LINE, MUTED, SMALL, Panel
from sktl.inspection._text import fitted, width_of

_PICTURE, _GAP = 1.25, 0.2  # inches
_CAPTION = BODY * LINE + SMALL * LINE + 0.16
_AGAINST, _FOR = np.array([33, 102, 172.0]), np.array([178, 24, 43.0])


class ActivationMapDisplay:
    """Class activation maps: the places that speak for and against a class.

    When the head is linear and the embedding is the average of a feature map over its
    places, the score of a class is an average too: of what the head makes of each
    place, plus a constant. These maps are that sum before it is taken, so they are
    exact: ``maps.mean(axis=(1, 2)) + intercepts`` equals ``decision_function``. Make
    the display with :meth:`from_estimator`.

    Parameters
    ----------
    maps : ndarray of shape (n_samples, height, width)
        What each place adds to the score of the target: above 0 speaks for it.

    intercepts : ndarray of shape (n_samples,)
        The part of the score that does not depend on the image.

    targets : list of str
        The class that each map is about.

    predicted : list of str or None, default=None
        The predicted class of each image; None when a number is predicted.

    pictures : list of ndarray of shape (h, w, 3), dtype uint8
        The images as the network sees them.

    true : list of str or None, default=None
        The class of each image, where it is known.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that hold the pictures.

    figure_ : matplotlib Figure
        The figure.

    text_ : list of list of matplotlib Text
        The lines under each pair of pictures.

    shown_ : ndarray of int
        The images that are shown, in reading order.

    scores : ndarray of shape (n_samples,)
        The scores of the targets.

    Notes
    -----
    The network runs again on these images, and their maps are held in memory: pass a
    few dozen images, not a data set.

    References
    ----------
    .. [1] B. Zhou, A. Khosla, A. Lapedriza, A. Oliva and A. Torralba, "Learning deep
       features for discriminative localization", CVPR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sktl import PretrainedFeatures
    >>> from sktl.inspection import ActivationMapDisplay
    >>> X = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    >>> model = make_pipeline(
    ...     PretrainedFeatures("lenet5", layers="stage1"),
    ...     StandardScaler(),
    ...     LogisticRegression(),
    ... )
    >>> model = model.fit(X, [0, 1, 2, 0, 1, 2])
    >>> display = ActivationMapDisplay.from_estimator(model, X, target=2)
    >>> display.maps.shape
    (6, 5, 5)
    >>> np.allclose(display.scores, model.decision_function(X)[:, 2])
    True
    """

    def __init__(
        self, maps, *, intercepts, targets, pictures, predicted=None, true=None
    ):
        self.maps = maps
        self.intercepts = intercepts
        self.targets = targets
        self.pictures = pictures
        self.predicted = predicted
        self.true = true

    @property
    def scores(self) -> np.ndarray:
        """The scores of the targets: the means of the maps, plus the intercepts."""
        return self.maps.mean(axis=(1, 2)) + self.intercepts

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        target=None,
        display_labels=None,
        ax=None,
        **plot_params,
    ):
        """Take the scores of a fitted estimator apart.

        Parameters
        ----------
        estimator : fitted estimator
            A pipeline of ``PretrainedFeatures(pool="avg")``, any affine steps such as
            ``StandardScaler`` or ``PCA``, and a linear head; or a fine-tuned
            estimator with a linear head; or a search over these.

        X : array-like of images
            A few images.

        y : array-like of shape (n_samples,), default=None
            Their classes, for the captions of what was predicted wrongly.

        target : label, or array-like of shape (n_samples,), default=None
            The class whose score is taken apart, or one for each image. None takes
            the class predicted for each image. For a regressor of several targets,
            the number of the target.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of ``estimator.classes_`` or by label.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        **plot_params : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : ActivationMapDisplay
            The display, drawn.

        Raises
        ------
        ActivationMapError
            If the score is no sum over places: the head is not linear, a step before
            it is not affine, or the embedding is no average of one feature map. The
            message says which, and what would do.
        """
        images = rows_for(estimator, X)
        found, scores = _taken_apart(estimator, X, images)
        classifier = is_classifier(estimator)
        if classifier:
            labels = np.asarray(estimator.classes_)
            head = steps_of(estimator)[-1].estimator
            if len(labels) == 2 and not getattr(head, "multilabel_", False):
                scores = _against_each_other(scores)
        else:
            labels = np.arange(scores.weight.shape[1])
        values = scores(found.embeddings)
        if values.shape[1] != len(labels):
            raise ActivationMapError(
                f"The head gives {values.shape[1]} scores for {len(labels)} classes; "
                "a map needs one score for each class."
            )
        names = names_of(labels, display_labels)
        if not classifier and display_labels is None:
            names = [f"target {i}" for i in labels] if len(labels) > 1 else ["value"]
        best = values.argmax(axis=1)
        targets = best if target is None else _codes(target, labels, len(images))
        if target is None and not classifier:
            targets = np.zeros_like(best)
        maps = np.einsum("nchw,nc->nhw", found.maps, scores.weight.T[targets])
        display = cls(
            maps,
            intercepts=scores.bias[targets],
            targets=[names[i] for i in targets],
            predicted=[names[i] for i in best] if classifier else None,
            true=_true_names(y, labels, names, images) if classifier else None,
            pictures=[_seen(images, i, found) for i in range(len(images))],
        )
        return display.plot(ax=ax, **plot_params)

    def plot(self, ax=None, *, n_images=12):
        """Draw each image beside its map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        n_images : int, default=12
            Images to show, as far as there is room.

        Returns
        -------
        display : ActivationMapDisplay
            The display itself.
        """
        n = min(n_images, len(self.maps))
        n_across = 3 if n > 4 else min(2, n)
        width, height = 2 * _PICTURE + _GAP + 0.06, _PICTURE + _CAPTION
        n_down = -(-n // n_across)
        size = max(n_across * width + 0.3, 5.3), n_down * height + 0.9
        panel = Panel("ActivationMapDisplay.plot", ax, *size)
        self.ax_, self.figure_ = panel.ax, panel.figure
        self.title_, top = panel.title("What speaks for and against a class, and where")
        places = panel.cells(n, width, height, top - 0.42)
        self.shown_ = np.arange(len(places))
        strongest = np.quantile(np.abs(self.maps[: len(places)]), 0.98) or 1.0
        self._draw_scale(panel, top, strongest)
        self.text_ = []
        for k, (left, bottom) in enumerate(places):
            left, bottom = left + _GAP / 2, bottom + _CAPTION
            picture = self.pictures[k]
            panel.picture(picture, left, bottom, _PICTURE)
            blended = overlay(picture, self.maps[k] / strongest)
            panel.picture(blended, left + _PICTURE + 0.06, bottom, _PICTURE)
            self.text_.append(self._write(panel, k, left, bottom - 0.05))
        return self

    def _write(self, panel: Panel, k: int, left: float, top: float) -> list:
        """Write what a map is about."""
        room = 2 * _PICTURE + 0.06
        below = f"row {k} · score {self.scores[k]:.3g}"
        for what, names in (("predicted", self.predicted), ("true", self.true)):
            if names is not None and names[k] != self.targets[k]:
                below += f" · {what}: {names[k]}"
        first = fitted(self.targets[k], room, BODY)
        second = fitted(below, room, SMALL)
        return [
            panel.text(left, top, first, BODY, va="top"),
            panel.text(left, top - BODY * LINE, second, SMALL, color=MUTED, va="top"),
        ]

    def _draw_scale(self, panel: Panel, top: float, strongest: float) -> None:
        """Draw the colours of the maps and what they mean."""
        y, left, width = top - 0.2, 0.15, 1.4
        ramp = np.linspace(-1, 1, 128)[None].repeat(8, axis=0)
        grey = np.full((8, 128, 3), 128, dtype=np.uint8)
        low = f"against  {-strongest:.2g}"
        panel.text(left, y, low, SMALL, color=MUTED, va="center")
        left += width_of(low, SMALL) + 0.08
        bar = panel.axes(left, y - 0.07, width, 0.14)
        bar.imshow(overlay(grey, ramp), aspect="auto", extent=(-1, 1, 0, 1))
        bar.set_axis_off()
        left += width + 0.08
        high = f"+{strongest:.2g}  for"
        more = f"{high};  the mean over places, plus a constant, is the score"
        if width_of(more, SMALL) < panel.width - left - 0.1:
            high = more
        panel.text(left, y, high, SMALL, color=MUTED, va="center")


def overlay(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a grey picture tinted by values from -1 to 1, stretched over it."""
    height, width = picture.shape[:2]
    values = Image.fromarray(values.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    values = np.asarray(values).clip(-1, 1)[..., None]
    grey = picture.mean(axis=2, keepdims=True) * 0.6 + 90
    tint = np.where(values < 0, _AGAINST, _FOR)
    strength = 0.85 * np.abs(values)
    return ((1 - strength) * grey + strength * tint).clip(0, 255).astype(np.uint8)


def _taken_apart(estimator, X, images: ImageRows) -> tuple[FeatureMaps, Affine]:
    """Return feature maps, and the scores as a function of their means."""
    steps = steps_of(estimator)
    first = steps[0].estimator
    if len(steps) == 1 and is_fine_tuned(first):
        from sktl.inspection._tuned_stages import head_of

        embeddings = embeddings_of(first, X)
        found = maps_of_fine_tuned(first, images, embeddings)
        scores = affine_of(head_of(first), embeddings)
        if scores is None:
            raise ActivationMapError(
                f"The head of {type(first).__name__} (head={first.head!r}) is not "
                "linear in the embedding. head='linear' has exact maps."
            )
        return found, scores
    if not isinstance(first, PretrainedFeatures) or len(steps) < 2:
        raise ActivationMapError(
            f"{type(estimator).__name__} does not begin with PretrainedFeatures and "
            "end with a head. Activation maps need such a pipeline, or a fine-tuned "
            "estimator."
        )
    embeddings = first.transform(X)
    found = maps_of_features(first, images, embeddings)
    return found, affine_scores(steps[1:], embeddings)


def _true_names(y, labels, names: list[str], images: ImageRows) -> list[str] | None:
    """Return the names of the true classes; those that nobody learned as they are."""
    if y is None:
        return None
    check_consistent_length(images, y)
    codes = codes_of(y, labels, "y")
    return [
        names[code] if code >= 0 else str(label)
        for code, label in zip(codes, np.asarray(y).tolist(), strict=True)
    ]


def _against_each_other(scores: Affine) -> Affine:
    """Return two scores for two classes: what is for the one is against the other."""
    if scores.weight.shape[1] == 2:  # two logits, of which the difference counts
        scores = Affine(
            scores.weight[:, 1:] - scores.weight[:, :1],
            scores.bias[1:] - scores.bias[:1],
        )
    return Affine(
        np.hstack([-scores.weight, scores.weight]),
        np.hstack([-scores.bias, scores.bias]),
    )


def _codes(target, labels: np.ndarray, n: int) -> np.ndarray:
    """Return the position of the target of each image."""
    wanted = np.asarray(target)
    if wanted.ndim == 0:
        wanted = np.repeat(wanted, n)
    if wanted.shape != (n,):
        raise ValueError(
            f"target has shape {wanted.shape}; pass one class, or one for each of the "
            f"{n} images."
        )
    unknown = sorted(set(wanted.tolist()) - set(labels.tolist()), key=str)
    if unknown:
        raise ValueError(
            f"target: the estimator knows no class {unknown[0]!r}. Its classes are "
            f"{', '.join(map(repr, labels[:20].tolist()))}."
        )
    position = {label: i for i, label in enumerate(labels.tolist())}
    return np.array([position[label] for label in wanted.tolist()])


def _seen(images: ImageRows, i: int, found: FeatureMaps) -> np.ndarray:
    """Return an image as the network sees it."""
    import torch

    pixels = images.prepare(i, found.recipe, found.value_range)
    if pixels.dtype != torch.uint8:
        pixels = (255 * pixels.clamp(0, 1)).round().to(torch.uint8)
    return pixels.expand(3, -1, -1).permute(1, 2, 0).numpy()
