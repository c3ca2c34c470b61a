"""``ActivationMapDisplay``: where in an image the score of a class comes from."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
from PIL import Image
from sklearn.base import is_classifier
from sklearn.utils import check_consistent_length

from sktl.exceptions import ActivationMapError
from sktl.features import PretrainedFeatures
from sktl.images import ImageRows
from sktl.inspection._classes import codes_of, names_of
from sktl.inspection._feature_maps import FeatureMaps, head_of
from sktl.inspection._fitted_steps import images_for, is_fine_tuned, steps_of
from sktl.inspection._linear_scores import LinearScores
from sktl.inspection._panel import INK, MUTED, SMALL, Panel, cell_size, widest
from sktl.inspection._thumbnails import as_seen

_SIDE = 1.25  # of a picture, in inches
_AGAINST, _FOR = np.array([33, 102, 172.0]), np.array([178, 24, 43.0])


@dataclass(eq=False, repr=False)
class ActivationMapDisplay:
    """Class activation maps: the image positions that count for and against a class.

    When the head is linear and the embedding is the average of a feature map over
    image positions, the score of a class is an average too: of what each position
    contributes, plus a constant. These maps show the contributions before they are
    averaged, so they are exact: ``maps.mean(axis=(1, 2)) + intercepts`` equals
    ``decision_function``. Make the display with :meth:`from_estimator`.

    Parameters
    ----------
    maps : ndarray of shape (n_samples, height, width)
        What each position adds to the score of the target: above 0 counts for it.

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
    ax_, figure_ : matplotlib Axes and Figure
        Where the pictures are drawn.

    text_ : list of list of matplotlib Text
        The lines under each pair of pictures.

    shown_ : ndarray of int
        The images that are shown, in reading order.

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
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import PretrainedFeatures, ProbeClassifier
    >>> from sktl.inspection import ActivationMapDisplay
    >>> X = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    >>> features = PretrainedFeatures("lenet5", layers="stage1")
    >>> model = make_pipeline(features, ProbeClassifier()).fit(X, [0, 1, 2, 0, 1, 2])
    >>> display = ActivationMapDisplay.from_estimator(model, X, target=2)
    >>> display.maps.shape
    (6, 5, 5)
    >>> np.allclose(display.scores, model.decision_function(X)[:, 2])
    True
    """

    maps: np.ndarray
    _: KW_ONLY
    intercepts: np.ndarray
    targets: list[str]
    pictures: list[np.ndarray]
    predicted: list[str] | None = None
    true: list[str] | None = None

    @property
    def scores(self) -> np.ndarray:
        """The scores of the targets: the means of the maps, plus the intercepts."""
        return self.maps.mean(axis=(1, 2)) + self.intercepts

    @property
    def strongest(self) -> float:
        """The contribution drawn in full colour: nearly the largest of all."""
        return float(np.quantile(np.abs(self.maps), 0.98)) or 1.0

    def overlay(self, k: int) -> np.ndarray:
        """Return the k-th picture in grey, red for its class and blue against it."""
        return _tinted(self.pictures[k], self.maps[k] / self.strongest)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        target=None,
        display_labels=None,
        **plot_params,
    ) -> ActivationMapDisplay:
        """Split the scores of a fitted estimator by image position.

        Parameters
        ----------
        estimator : fitted estimator
            A pipeline of ``PretrainedFeatures(pool="avg")``, any affine steps such as
            ``StandardScaler`` or ``PCA``, and a linear head; or a fine-tuned
            estimator with a linear head; or a search over these.

        X : array-like of images
            A few images.

        y : array-like of shape (n_samples,), default=None
            Their classes, for the captions of wrong predictions.

        target : label, or array-like of shape (n_samples,), default=None
            The class whose score is split, or one for each image. None takes the
            class predicted for each image. For a regressor of several targets, the
            number of the target.

        display_labels : list of str, dict or None, default=None
            Names of the classes, in the order of ``estimator.classes_`` or by label.

        **plot_params : dict
            Passed to :meth:`plot`, such as ``ax``.

        Returns
        -------
        display : ActivationMapDisplay
            The display, drawn.

        Raises
        ------
        ActivationMapError
            If the score is not a sum over image positions: the head is not linear, a
            step before it is not affine, or the embedding is not the average of one
            feature map. The message says which, and what would work.
        """
        display = cls.compute(
            estimator, X, y, target=target, display_labels=display_labels
        )
        return display.plot(**plot_params)

    @classmethod
    def compute(
        cls, estimator, X, y=None, *, target=None, display_labels=None
    ) -> ActivationMapDisplay:
        """Return the display without drawing it; see :meth:`from_estimator`."""
        images = images_for(estimator, X)
        found, scores = _split(estimator, X, images)
        classifier = is_classifier(estimator)
        if classifier:
            labels = np.asarray(estimator.classes_)
            names = names_of(labels, display_labels)
            head = steps_of(estimator)[-1].estimator
            if not getattr(head, "multilabel_", False):
                scores = scores.per_class(len(labels))
        else:
            labels = np.arange(scores.weight.shape[1])
            words = [f"target {i}" for i in labels] if len(labels) > 1 else ["value"]
            names = (
                words if display_labels is None else names_of(labels, display_labels)
            )
        values = scores(found.embeddings)
        if values.shape[1] != len(labels):
            raise ActivationMapError(
                f"The head gives {values.shape[1]} scores for {len(labels)} classes; "
                "a map needs one score for each class."
            )
        best = values.argmax(axis=1) if classifier else np.zeros(len(images), int)
        targets = best if target is None else _codes(target, labels, len(images))
        seen = found.part.recipe, found.part.value_range
        maps = np.einsum("nchw,nc->nhw", found.maps, scores.weight.T[targets])
        return cls(
            maps,
            intercepts=scores.bias[targets],
            targets=[names[i] for i in targets],
            predicted=[names[i] for i in best] if classifier else None,
            true=_true_names(y, labels, names, images) if classifier else None,
            pictures=[as_seen(images, i, *seen) for i in range(len(images))],
        )

    def plot(self, ax=None, *, n_images=12) -> ActivationMapDisplay:
        """Draw each image beside its map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        n_images : int, default=12
            Images to show at most; fewer if there is no room.

        Returns
        -------
        display : ActivationMapDisplay
            The display itself.
        """
        n = min(n_images, len(self.maps))
        cell = cell_size(_SIDE, n_pictures=2, n_lines=2)
        n_across = 3 if n > 4 else min(2, n)
        size = max(n_across * cell[0] + 0.3, 5.3), -(-n // n_across) * cell[1] + 0.9
        panel = Panel("ActivationMapDisplay.plot", ax, *size)
        self.ax_, self.figure_ = panel.ax, panel.figure
        self.title_ = panel.title("Where the score of each class comes from")
        items = (
            ([self.pictures[k], self.overlay(k)], self._caption(k)) for k in range(n)
        )
        self.text_ = panel.gallery(items, n, cell, _SIDE, top=panel.top - 0.42)
        self.shown_ = np.arange(len(self.text_))
        self._draw_scale(panel, panel.top - 0.2)
        return self

    def _caption(self, k: int) -> list[tuple[str, str]]:
        """Return the lines under a map and their colours."""
        below = f"row {k} · score {self.scores[k]:.3g}"
        for what, names in (("predicted", self.predicted), ("true", self.true)):
            if names is not None and names[k] != self.targets[k]:
                below += f" · {what}: {names[k]}"
        return [(self.targets[k], INK), (below, MUTED)]

    def _draw_scale(self, panel: Panel, y: float) -> None:
        """Draw the colours of the maps and what they mean."""
        how = {"color": MUTED, "va": "center"}
        low, high = (f"{sign * self.strongest:+.2g}" for sign in (-1, 1))
        panel.text(0.15, y, f"against  {low}", SMALL, **how)
        left = 0.23 + widest([f"against  {low}"], SMALL)
        bar = panel.axes(left, y - 0.07, 1.4, 0.14)
        grey = np.full((8, 128, 3), 128, dtype=np.uint8)
        ramp = np.linspace(-1, 1, 128)[None].repeat(8, axis=0)
        bar.imshow(_tinted(grey, ramp), aspect="auto", extent=(-1, 1, 0, 1))
        bar.set_axis_off()
        words = f"{high}  for"
        more = f"{words};  the mean over positions, plus a constant, is the score"
        if widest([more], SMALL) < panel.width - left - 1.58:
            words = more
        panel.text(left + 1.48, y, words, SMALL, **how)


def _tinted(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a picture in grey, tinted by values from -1 to 1 stretched over it."""
    height, width = picture.shape[:2]
    small = Image.fromarray(values.astype(np.float32))
    wide = small.resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(wide).clip(-1, 1)[..., None]
    grey = picture.mean(axis=2, keepdims=True) * 0.6 + 90
    tint = np.where(values < 0, _AGAINST, _FOR)
    strength = 0.85 * np.abs(values)
    return ((1 - strength) * grey + strength * tint).clip(0, 255).astype(np.uint8)


def _split(estimator, X, images: ImageRows) -> tuple[FeatureMaps, LinearScores]:
    """Return feature maps, and the scores as a function of their means."""
    steps = steps_of(estimator)
    first = steps[0].estimator
    if len(steps) == 1 and is_fine_tuned(first):
        found = FeatureMaps.of(first, X, images)
        scores = LinearScores.of(head_of(first), found.embeddings)
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
    found = FeatureMaps.of(first, X, images)
    return found, LinearScores.of_steps(steps[1:], found.embeddings)


def _true_names(y, labels, names: list[str], images: ImageRows) -> list[str] | None:
    """Return the names of the true classes; unknown classes keep their labels."""
    if y is None:
        return None
    check_consistent_length(images, y)
    return [
        names[code] if code >= 0 else str(label)
        for code, label in zip(codes_of(y, labels, "y"), np.asarray(y), strict=True)
    ]


def _codes(target, labels: np.ndarray, n: int) -> np.ndarray:
    """Return the position of the target of each image."""
    wanted = np.asarray(target)
    if wanted.ndim and wanted.shape != (n,):
        raise ValueError(
            f"target has shape {wanted.shape}; pass one class, or one for each of the "
            f"{n} images."
        )
    wanted = np.broadcast_to(wanted, n)
    codes = codes_of(wanted, labels, "target")
    if (codes < 0).any():
        unknown = wanted[codes < 0].tolist()[0]
        raise ValueError(
            f"target: the estimator has no class {unknown!r}. Its classes are "
            f"{', '.join(map(repr, labels[:20].tolist()))}."
        )
    return codes
