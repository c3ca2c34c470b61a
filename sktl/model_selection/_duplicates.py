"""``duplicate_groups``: copies of images, and what they do to scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone
from sklearn.preprocessing import normalize
from sklearn.utils._param_validation import HasMethods, Interval

from sktl._validate_params import validate_params
from sktl.images import ImageRows, Recipe
from sktl.model_selection._cross_validation import Split
from sktl.model_selection._plain_features import PlainFeatures, for_each_image

# Small enough to forget re-encoding and large enough to tell two photographs of one
# subject apart: of 1.1 million pairs of different images, 8 px leave 13 above a
# correlation of 0.9, 16 px leave 2, 24 px none (cats and dogs, EuroSAT).
_SIZE = 24
# Images with less contrast than this (on a scale of 0 to 1) have no shape to compare.
_FLAT = 0.5 / 255
# Rows and columns of similarities that are held at once: 64 MB.
_BLOCK = 4096


@validate_params(
    {
        "threshold": [Interval(Real, 0, 1, closed="right")],
        "features": [HasMethods(["fit", "transform"]), None],
        "image_shape": [list, tuple, None],
        "value_range": [list, tuple, None],
    }
)
def duplicate_groups(
    X, *, threshold=0.99, features=None, image_shape=None, value_range=None
) -> np.ndarray:
    """Find copies and near-copies of images, as groups that a splitter keeps together.

    A model remembers a test image of which it has seen a copy in training, and its
    score is too good. Two images are in one group if their content is the same byte
    for byte, or if their grey thumbnails are nearly the same up to brightness and
    contrast. Chains of such pairs are one group, too.

    Parameters
    ----------
    X : array-like of images
        Arrays, paths, encoded bytes, PIL images or flattened rows.
    threshold : float, default=0.99
        Similarity from which two images count as copies. 1 finds only exact copies;
        0.95 finds more, and suits photographs: no two different ones come that close.
    features : transformer or None, default=None
        Its output is compared by cosine, instead of thumbnails: for example
        ``PretrainedFeatures("resnet50")``, to find different pictures of one object.
        Choose the threshold for these features.
    image_shape, value_range
        As in :class:`SmallPixels`.

    Returns
    -------
    groups : ndarray of int, shape (n_samples,)
        The group of each image, in order of appearance, for a splitter such as
        ``StratifiedGroupKFold``. An image without a copy is a group of its own.

    Notes
    -----
    Thumbnails are 24 x 24, grey and compared by correlation. Among 1400 photographs
    (cats and dogs) and 750 satellite images (EuroSAT), no two different ones reach
    0.9. At 0.99, all of 150 photographs were found again after JPEG of quality 40, at
    half the size, 10 % brighter or in grey, and so were 65 to 97 % of the satellite
    images, which have little shape to compare (83 to 95 % at 0.95). Cosines of
    ImageNet embeddings overlap: photographs of two cats reach 0.94, while a copy at
    half the size falls to 0.86.

    Among images that differ little, a few pairs above the threshold are not copies:
    5 of 1.6 million in scikit-learn's digits, 1 of 2 million in MNIST. Crops by more
    than 1 %, rotations and mirror images are not found. Time grows with the square of
    the number of images, memory does not.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_sample_images
    >>> from sktl.model_selection import duplicate_groups
    >>> china, flower = load_sample_images().images
    >>> darker = (0.9 * china).astype(np.uint8)
    >>> duplicate_groups([china, flower, darker, flower[::2, ::2]])
    array([0, 1, 0, 1])
    """
    pairs: list[np.ndarray] = []
    if threshold < 1:
        if features is None:
            features = _Thumbnails(image_shape=image_shape, value_range=value_range)
        vectors = np.asarray(clone(features).fit(X).transform(X), np.float32)
        pairs += _similar_pairs(normalize(vectors), threshold)
    images = ImageRows.of(X, image_shape=image_shape)
    pairs.append(_same_content(images))
    return _connected(np.concatenate(pairs, axis=1), len(images))


def describe_leakage(
    copies: np.ndarray, splits: Sequence[Split], images: ImageRows
) -> list[str]:
    """Return a sentence about copies on both sides of splits, if there are any."""
    leaking = [np.intersect1d(copies[train], copies[test]) for train, test in splits]
    n_splits = sum(len(groups) > 0 for groups in leaking)
    if not n_splits:
        return []
    groups = np.unique(np.concatenate(leaking))
    first, second = np.flatnonzero(copies == groups[0])[:2]
    return [
        f"{np.isin(copies, groups).sum()} images are copies or near-copies "
        f"({images.where(first)} and {images.where(second)}, for example). In "
        f"{n_splits} of {len(splits)} splits a model is tested on an image of which it "
        "has seen a copy, which inflates the score. Pass duplicates='group' to keep "
        "copies together, or remove them."
    ]


def describe_contradictions(
    copies: np.ndarray, y: np.ndarray, images: ImageRows
) -> list[str]:
    """Return a sentence about copies with different labels, if there are any."""
    order = np.argsort(copies, kind="stable")
    same = copies[order][1:] == copies[order][:-1]
    differ = same & (y[order][1:] != y[order][:-1])
    if not differ.any():
        return []
    at = np.flatnonzero(differ)[0]
    first, second = order[at], order[at + 1]
    n = int(differ.sum())
    return [
        f"{n} pair{'s' * (n > 1)} of copies ha{'ve' if n > 1 else 's'} different "
        f"labels: {images.where(first)} is {y[first]!s} and {images.where(second)} is "
        f"{y[second]!s}. One label of each pair is wrong, or the image does not "
        "show what the label says."
    ]


def join_groups(first: np.ndarray | None, second: np.ndarray) -> np.ndarray:
    """Return groups that keep together what either of two groupings keeps together."""
    if first is None:
        return second
    first = np.unique(first, return_inverse=True)[1].ravel()
    n = first.max() + 1
    pairs = np.stack([first, n + second])
    return _connected(pairs, n + second.max() + 1)[first]


class _Thumbnails(PlainFeatures):
    """Grey thumbnails without their brightness; flat images become zeros."""

    def _recipe(self) -> Recipe:
        size = (_SIZE, _SIZE)
        return Recipe(size, resize=None, channels=1, mean=(0.0,), std=(1.0,))

    def _describe(self, pixels: np.ndarray) -> np.ndarray:
        grey = pixels.ravel() - pixels.mean()
        return grey if grey.std() >= _FLAT else np.zeros_like(grey)


def _same_content(images: ImageRows) -> np.ndarray:
    """Return each image with the first one of the same content, as pairs (2, n)."""
    first: dict[bytes, int] = {}
    contents = for_each_image(images, images.fingerprint)
    ends = [first.setdefault(content, i) for i, content in enumerate(contents)]
    return np.stack([np.arange(len(images)), np.array(ends, dtype=np.intp)])


def _similar_pairs(vectors: np.ndarray, threshold: float) -> Iterator[np.ndarray]:
    """Yield pairs (2, n) that connect rows whose cosine reaches the threshold."""
    n = len(vectors)
    for i in range(0, n, _BLOCK):
        for j in range(i, n, _BLOCK):
            similar = vectors[i : i + _BLOCK] @ vectors[j : j + _BLOCK].T >= threshold
            yield _spanning(np.stack(np.nonzero(similar)) + np.array([[i], [j]]))


def _spanning(pairs: np.ndarray) -> np.ndarray:
    """Return at most one pair per row that connects what the given pairs connect.

    If all images are alike (frames of a film), the number of pairs grows with the
    square of the number of images.
    """
    if pairs.shape[1] == 0:
        return pairs
    rows, local = np.unique(pairs, return_inverse=True)
    labels = _connected(local.reshape(2, -1), len(rows))
    _, first = np.unique(labels, return_index=True)
    return np.stack([rows, rows[first][labels]])


def _connected(pairs: np.ndarray, n: int) -> np.ndarray:
    """Return the connected component of each of ``n`` rows, in order of appearance."""
    ones = np.ones(pairs.shape[1], dtype=bool)
    graph = coo_matrix((ones, tuple(pairs)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.intp)
