"""``duplicate_pairs``, ``duplicate_groups``: copies of images and what they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import NamedTuple

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

_SIZE = 32
# Images with less contrast than this (on a scale of 0 to 1) have no shape to compare.
_FLAT = 0.5 / 255
# The nearest neighbours of an image may be copies. The 10th to the 12th hardly are, and
# show how alike different images of this set become.
_NEAREST = 6
_FURTHEST = 12
# A near copy whose corners moved by more than this share of a side is a moved one.
_STILL = 0.01
# Similarities that are held at once: 32 MB. Images that are aligned at once.
_AT_ONCE = 2**23
_BATCH = 32

Pairs = Iterable["DuplicatePair"]

_PARAMETERS: dict = {
    "threshold": [Interval(Real, 0, 1, closed="right")],
    "features": [HasMethods(["fit", "transform"]), None],
    "image_shape": [list, tuple, None],
    "value_range": [list, tuple, None],
}


class DuplicatePair(NamedTuple):
    """Two images of which one is a copy of the other: see :func:`duplicate_pairs`."""

    first: int
    second: int
    kind: str
    similarity: float


@validate_params(_PARAMETERS)
def duplicate_pairs(
    X, *, threshold=0.9, features=None, image_shape=None, value_range=None
) -> list[DuplicatePair]:
    """Find copies of images, and say of which kind they are.

    Parameters
    ----------
    X : array-like of images
        Arrays, paths, encoded bytes, PIL images or flattened rows.
    threshold : float, default=0.9
        Similarity from which two images count as copies. Where different images are
        much alike (digits, frames of a film), more is required: at most
        ``1 - (1 - threshold)**2``, which is 0.99. 1 finds only exact copies.
    features : transformer or None, default=None
        Its output is compared by cosine with ``threshold``, instead of thumbnails: for
        example ``PretrainedFeatures()``, to find different pictures of one object.
        Choose the threshold for these features; pairs are exact or near.
    image_shape, value_range
        As in :class:`SmallPixels`.

    Returns
    -------
    pairs : list of DuplicatePair
        Named tuples in the order of rows. Of many copies of one image, each is in a
        pair, but not with all others.

        - ``first``, ``second``: the rows of the two images.
        - ``kind``: ``"exact"``, the same content byte for byte; ``"near"``, saved
          again, resized, brightened, blurred or made grey; ``"moved"``, also cropped,
          rotated or shifted a little; ``"mirrored"``, the mirror image, perhaps moved.
        - ``similarity``: how alike they are, 1 at most.

    See Also
    --------
    duplicate_groups : The same as groups for a splitter.

    Notes
    -----
    Each image is compared with its 6 nearest neighbours, and with the 6 nearest to its
    mirror image, as grey thumbnails of 32 x 32. The neighbour is laid over the image
    by an affine map, and their slopes are correlated. A pair is one of copies if what
    is missing to 1 is at most a tenth (``1 - threshold``) of what is missing to the
    similarity of further neighbours, which are different images.

    Of real images (``benchmarks/near_copies.py``), copies that were halved in size,
    saved as JPEG of quality 40, brightened by 20 %, blurred, mirrored, rotated by 2
    degrees, or cropped by 3 px or 10 % were all found among cats and dogs, and at least
    99 % in Tiny ImageNet; 10 % cut off at a corner left 97 and 92 %. Of satellite
    images (EuroSAT), some of which have little shape to compare, 79 to 98 % were found.
    None of these searches found a false pair, nor did those among 10,000 images of Tiny
    ImageNet and 10,000 digits (MNIST); cats and dogs hold one copy of their own.

    A caption hides copies of small images (31 % found in Tiny ImageNet), and flat
    images with the same caption, such as water, are taken for copies. Much larger crops
    and rotations are not found, nor are copies upside down. Of an image with ten or
    more copies, those are found that reach 0.99.

    10,000 small images take 34 seconds on one core. Finding neighbours grows with the
    square of the number of images; the rest, and memory, grow in proportion.

    Examples
    --------
    >>> from sklearn.datasets import load_sample_images
    >>> from sktl.model_selection import duplicate_pairs
    >>> china, flower = load_sample_images().images
    >>> copies = [china[:, ::-1], flower[::2, ::2]]
    >>> for pair in duplicate_pairs([china, flower, *copies, china.copy()]):
    ...     print(pair.first, pair.second, pair.kind)
    0 2 mirrored
    0 4 exact
    1 3 near
    """
    compare = _aligned_pairs if features is None else _cosine_pairs
    if features is None:
        features = _Thumbnails(image_shape=image_shape, value_range=value_range)
    if threshold < 1:
        vectors = np.asarray(clone(features).fit(X).transform(X), np.float32)
    first = _same_content(ImageRows.of(X, image_shape=image_shape))
    copies = np.flatnonzero(first != np.arange(len(first))).tolist()
    pairs = [DuplicatePair(int(first[i]), i, "exact", 1.0) for i in copies]
    rows = np.unique(first)  # one row for each content
    if threshold < 1 and len(rows) > 1:
        for pair in compare(vectors[rows], threshold):
            first_row, second_row = int(rows[pair.first]), int(rows[pair.second])
            pairs.append(pair._replace(first=first_row, second=second_row))
    return sorted(pairs)


@validate_params({**_PARAMETERS, "mirrored": ["boolean"]})
def duplicate_groups(
    X,
    *,
    threshold=0.9,
    mirrored=True,
    features=None,
    image_shape=None,
    value_range=None,
) -> np.ndarray:
    """Find copies of images, as groups that a splitter keeps together.

    A model remembers a test image of which it has seen a copy in training, and its
    score is too good. Chains of copies are one group.

    Parameters
    ----------
    X : array-like of images
        Arrays, paths, encoded bytes, PIL images or flattened rows.
    threshold : float, default=0.9
        As in :func:`duplicate_pairs`, which says what counts as a copy.
    mirrored : bool, default=True
        Whether an image and its mirror image are in one group.
    features, image_shape, value_range
        As in :func:`duplicate_pairs`.

    Returns
    -------
    groups : ndarray of int, shape (n_samples,)
        The group of each image, in order of appearance, for a splitter such as
        ``StratifiedGroupKFold``. An image without a copy is a group of its own.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_sample_images
    >>> from sktl.model_selection import duplicate_groups
    >>> china, flower = load_sample_images().images
    >>> darker = (0.9 * china).astype(np.uint8)
    >>> images = [china, flower, darker, flower[::2, ::2], china[:, ::-1]]
    >>> duplicate_groups(images)
    array([0, 1, 0, 1, 0])
    >>> duplicate_groups(images, mirrored=False)
    array([0, 1, 0, 1, 2])
    """
    pairs = duplicate_pairs(
        X,
        threshold=threshold,
        features=features,
        image_shape=image_shape,
        value_range=value_range,
    )
    pairs = [pair for pair in pairs if mirrored or pair.kind != "mirrored"]
    return groups_of(pairs, len(ImageRows.of(X, image_shape=image_shape)))


def groups_of(pairs: Sequence[DuplicatePair], n: int) -> np.ndarray:
    """Return the group of each of ``n`` images."""
    rows = np.array([pair[:2] for pair in pairs], dtype=np.intp).reshape(-1, 2)
    return _connected(rows.T, n)


def describe_leakage(
    pairs: Sequence[DuplicatePair], splits: Sequence[Split], images: ImageRows
) -> list[str]:
    """Return a sentence about copies on both sides of splits, if there are any."""
    groups = groups_of(pairs, len(images))
    leaking = [np.intersect1d(groups[train], groups[test]) for train, test in splits]
    n_splits = sum(len(found) > 0 for found in leaking)
    if not n_splits:
        return []
    leaked = np.isin(groups, np.concatenate(leaking))
    pairs = [pair for pair in pairs if leaked[pair.first]]
    first, second, *_ = pairs[0]
    counts = Counter(pair.kind for pair in pairs).most_common()
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts)
    return [
        f"{leaked.sum()} images are copies or near-copies "
        f"({images.where(first)} and {images.where(second)}, for example; "
        f"pairs: {kinds}). In {n_splits} of {len(splits)} splits a model is tested on "
        "an image of which it has seen a copy, which inflates the score. Pass "
        "duplicates='group' to keep copies together, or remove them."
    ]


_CONTRADICTIONS = {
    "copies": (
        ("exact", "near"),
        "One label of each pair is wrong, or the image does not show what the label "
        "says.",
    ),
    "moved or mirrored copies": (
        ("moved", "mirrored"),
        "That is right if labels depend on position or side, as with left and right "
        "hands. Otherwise one label of each pair is wrong.",
    ),
}


def describe_contradictions(
    pairs: Sequence[DuplicatePair], y: np.ndarray, images: ImageRows
) -> list[str]:
    """Return a sentence about copies with different labels, if there are any."""
    messages = []
    for name, (kinds, reason) in _CONTRADICTIONS.items():
        found = [p for p in pairs if p.kind in kinds and y[p.first] != y[p.second]]
        if found:
            n, (first, second, *_) = len(found), found[0]
            messages.append(
                f"{n} pair{'s' * (n > 1)} of {name} ha{'ve' if n > 1 else 's'} "
                f"different labels: {images.where(first)} is {y[first]!s} and "
                f"{images.where(second)} is {y[second]!s}. {reason}"
            )
    return messages


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
    """Return, for each image, the first one of the same content."""
    first: dict[bytes, int] = {}
    contents = enumerate(for_each_image(images, images.fingerprint))
    return np.array([first.setdefault(content, i) for i, content in contents])


def _aligned_pairs(thumbnails: np.ndarray, threshold: float) -> Pairs:
    """Return pairs of thumbnails that are alike once one is laid over the other."""
    from sktl.model_selection._alignment import align  # imports torch

    n = len(thumbnails)
    images = thumbnails.reshape(n, _SIZE, _SIZE)
    mirror_images = images[:, :, ::-1]
    vectors = _coarse(images)
    plain = _neighbours(vectors, vectors, _FURTHEST)
    mirrored = _neighbours(vectors, _coarse(mirror_images), _NEAREST)
    k = mirrored.shape[1]
    further = plain[:, min(_FURTHEST - 3, plain.shape[1] - 1) :]
    indices = np.concatenate([plain[:, :k], mirrored, further], axis=1)
    batches = []
    for i in range(0, n, _BATCH):
        some = indices[i : i + _BATCH]
        others = images[some]
        others[:, k : 2 * k] = mirror_images[some[:, k : 2 * k]]
        batches.append(align(images[i : i + _BATCH], others))
    similarity, move = np.concatenate(batches, axis=1)
    usual = np.clip(similarity[:, 2 * k :].max(axis=1), 0, threshold)
    indices, similarity = indices[:, : 2 * k], similarity[:, : 2 * k]
    usual = np.maximum(usual[:, None], usual[indices])
    are_copies = 1 - similarity <= (1 - threshold) * (1 - usual)
    kinds = np.where(move < _STILL, "near", "moved").astype(object)
    kinds[:, k : 2 * k] = "mirrored"
    return _pairs_at(are_copies, indices, kinds, similarity)


def _cosine_pairs(vectors: np.ndarray, threshold: float) -> Pairs:
    """Return pairs of neighbours whose cosine reaches the threshold."""
    vectors = normalize(vectors)
    indices = _neighbours(vectors, vectors, _NEAREST)
    # One neighbour of each at a time: all would be several copies of the vectors.
    cosines = np.stack(
        [np.einsum("ij,ij->i", vectors, vectors[some]) for some in indices.T], axis=1
    )
    kinds = np.full(indices.shape, "near", dtype=object)
    return _pairs_at(cosines >= threshold, indices, kinds, cosines)


def _pairs_at(
    chosen: np.ndarray, indices: np.ndarray, kinds: np.ndarray, similarity: np.ndarray
) -> Pairs:
    """Return the chosen neighbours as pairs, the better one of both alignments."""
    found: dict[tuple[int, int], DuplicatePair] = {}
    for i, c in np.argwhere(chosen).tolist():
        first, second = sorted((i, int(indices[i, c])))
        alike = min(1.0, float(similarity[i, c]))
        pair = DuplicatePair(first, second, kinds[i, c], alike)
        known = found.setdefault((first, second), pair)
        if known.similarity < alike:
            found[first, second] = pair
    return found.values()


def _coarse(images: np.ndarray) -> np.ndarray:
    """Return thumbnails at half their size, as vectors of length 1."""
    n, size, _ = images.shape
    halves = images.reshape(n, size // 2, 2, size // 2, 2).mean(axis=(2, 4))
    return normalize(halves.reshape(n, -1))


def _neighbours(vectors: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """Return the ``k`` rows of ``others`` most like each vector but itself."""
    n = len(vectors)
    k, step = min(k, n - 1), max(1, _AT_ONCE // n)
    found = []
    for i in range(0, n, step):
        distance = -(vectors[i : i + step] @ others.T)
        some = np.arange(len(distance))
        distance[some, i + some] = np.inf
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.argsort(distance[some[:, None], nearest], axis=1)
        found.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(found)


def _connected(pairs: np.ndarray, n: int) -> np.ndarray:
    """Return the connected component of each of ``n`` rows, in order of appearance."""
    ones = np.ones(pairs.shape[1], dtype=bool)
    graph = coo_matrix((ones, tuple(pairs)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.intp)
