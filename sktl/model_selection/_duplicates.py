"""``duplicate_groups``: copies and near-copies of images, as groups for a splitter."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from sktl.images import ImageRows, Recipe, learn_value_range
from sktl.model_selection._each_row import each_row

# Small enough to forget re-encoding and large enough to tell two photographs of one
# subject apart: of 1.1 million pairs of different images, 8 px leave 13 above a
# correlation of 0.9, 16 px leave 2, 24 px none (cats and dogs, EuroSAT).
_THUMBNAIL = Recipe((24, 24), resize=None, channels=1, mean=(0.0,), std=(1.0,))
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
    },
    prefer_skip_nested_validation=True,
)
def duplicate_groups(
    X, *, threshold=0.99, features=None, image_shape=None, value_range=None
):
    """Find copies and near-copies of images, as groups that a splitter keeps together.

    A picture that stands in the training part and again in the test part is
    remembered, not recognised, and the score flatters the model. Two images belong to
    one group when their content is the same byte for byte, or when their grey
    thumbnails are nearly the same up to brightness and contrast; and so does whoever
    is connected to them by a chain of such pairs.

    Parameters
    ----------
    X : array-like of images
        Arrays, paths, encoded bytes, PIL images or flattened rows.

    threshold : float, default=0.99
        Similarity from which two images are copies. 1 finds only exact ones; 0.95
        finds more where no two different images are alike, as among photographs.

    features : transformer or None, default=None
        What to compare instead of thumbnails, by cosine: for example
        ``PretrainedFeatures("resnet50")``, to find the same object seen again. The
        threshold has to be chosen for it.

    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of images that come as
        rows of a table; None infers it.

    value_range : (float, float) or None, default=None
        The pixel values that mean black and white, where the type does not say it.

    Returns
    -------
    groups : ndarray of int, shape (n_samples,)
        The group of each image, numbered in the order in which they appear; an image
        without a copy is a group of its own.

    Raises
    ------
    UnreadableImageError
        If rows hold no readable image; it names them.

    See Also
    --------
    sklearn.model_selection.StratifiedGroupKFold : Keeps groups on one side.
    compare : Warns when copies stand on both sides of a split.

    Notes
    -----
    Thumbnails (24 x 24, grey, compared by correlation) and not embeddings, by
    measurement on 1400 photographs (cats and dogs) and 750 satellite images
    (EuroSAT). No two different ones correlate above 0.9. At 0.99, all of 150
    photographs were found again after JPEG of quality 40, half the size, 10 % more
    brightness or grey, and 65 to 97 % of the satellite images, which have little shape
    to compare (83 to 95 % at 0.95). The cosine of ImageNet embeddings overlaps:
    two photographs of different cats reach 0.94 and two fields of EuroSAT 0.9998,
    while a copy at half the size falls to 0.86.

    Where images differ by little, a few pairs above the threshold are no copies: 5 of
    1.6 million among scikit-learn's digits, 1 of 2 million in MNIST. Crops by more
    than 1 %, rotations and mirror images are not found.

    Costs one decoding of each image and n * n / 2 products of short vectors, in
    blocks: memory does not grow with the square of the number of images.

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
    rows = ImageRows.of(X, image_shape=image_shape)
    pairs = []
    if threshold < 1:
        if features is None:
            vectors = _thumbnails(rows, value_range)
        else:
            vectors = np.asarray(clone(features).fit(X).transform(X), np.float32)
        vectors = _unit_length(vectors)
        pairs += _similar_pairs(vectors, threshold)
    pairs.append(_same_content(rows))  # after all images were read: see each_row
    labels = components(np.concatenate(pairs, axis=1), len(rows))
    return _in_order_of_appearance(labels)


def _same_content(rows: ImageRows) -> np.ndarray:
    """Return each image with the first one of the same content, as pairs (2, n)."""
    first: dict[bytes, int] = {}
    contents = each_row(rows, rows.fingerprint)
    ends = [first.setdefault(content, i) for i, content in enumerate(contents)]
    return np.stack([np.arange(len(rows)), np.array(ends, dtype=np.intp)])


def _thumbnails(rows: ImageRows, value_range) -> np.ndarray:
    """Return grey thumbnails without their brightness; flat images become zeros."""
    value_range = learn_value_range(rows, value_range)

    def shrink(i: int) -> np.ndarray:
        pixels = rows.prepare(i, _THUMBNAIL, value_range).numpy()
        full = 255 if pixels.dtype == np.uint8 else 1
        return np.float32(pixels.ravel() / full)

    grey = np.stack(each_row(rows, shrink))
    grey -= grey.mean(axis=1, keepdims=True)
    grey[grey.std(axis=1) < _FLAT] = 0
    return grey


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """Return rows of length 1; rows of zeros stay zeros, similar to nothing."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


def _similar_pairs(vectors: np.ndarray, threshold: float) -> Iterator[np.ndarray]:
    """Yield pairs (2, n) that connect rows whose cosine reaches the threshold."""
    n = len(vectors)
    for i in range(0, n, _BLOCK):
        for j in range(i, n, _BLOCK):
            similar = vectors[i : i + _BLOCK] @ vectors[j : j + _BLOCK].T >= threshold
            yield _spanning(np.stack(np.nonzero(similar)) + np.array([[i], [j]]))


def _spanning(pairs: np.ndarray) -> np.ndarray:
    """Return at most one pair per row that connects what the given pairs connect.

    Where all images are alike (frames of a film), the pairs are as many as the square
    of the images.
    """
    if pairs.shape[1] == 0:
        return pairs
    rows, local = np.unique(pairs, return_inverse=True)
    labels = components(local.reshape(2, -1), len(rows))
    _, first = np.unique(labels, return_index=True)
    return np.stack([rows, rows[first][labels]])


def components(pairs: np.ndarray, n: int) -> np.ndarray:
    """Return the connected component of each of ``n`` rows."""
    ones = np.ones(pairs.shape[1], dtype=bool)
    graph = coo_matrix((ones, tuple(pairs)), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def _in_order_of_appearance(labels: np.ndarray) -> np.ndarray:
    """Return groups renumbered: the first image is in group 0, and so on."""
    _, where, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(where), dtype=np.intp)
    rank[np.argsort(where)] = np.arange(len(where))
    return rank[inverse.ravel()]
