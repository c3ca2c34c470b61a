"""``make_shapes``: small colour images to try things on, drawn and not downloaded."""

from __future__ import annotations

import math
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from sktl._validate_params import validate_params

# The angles of the corners, in turns, and how far each is from the centre.
_CORNERS = {
    "circle": [(i / 60, 1.0) for i in range(60)],
    "cross": [
        (turn + step, far)
        for turn in (0.0, 0.25, 0.5, 0.75)
        for step, far in ((-0.05, 1.0), (0.05, 1.0), (0.125, 0.44))
    ],
    "square": [(0.125 + i / 4, 1.0) for i in range(4)],
    "star": [(i / 10, (1.0, 0.4)[i % 2]) for i in range(10)],
    "triangle": [(i / 3, 1.0) for i in range(3)],
}


@validate_params(
    {
        "n_images": [Interval(Integral, 1, None, closed="left")],
        "size": [Interval(Integral, 16, None, closed="left")],
        "random_state": ["random_state"],
    }
)
def make_shapes(
    n_images: int = 100, *, size: int = 96, random_state: object = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw circles, crosses, squares, stars and triangles on cluttered photographs.

    Place, size, angle and colour are random, and the background is a random crop of one
    of scikit-learn's two sample photographs. Colours and single pixels say next to
    nothing about the class, so the task needs a network that sees shapes.

    Parameters
    ----------
    n_images : int, default=100
        Number of images; the classes are equally frequent, as far as possible.
    size : int, default=96
        Height and width in pixels.
    random_state : int, RandomState instance or None, default=None
        Determines the drawings. Give an int to get the same images again.

    Returns
    -------
    X : ndarray of shape (n_images, size, size, 3)
        The images, uint8.
    y : ndarray of shape (n_images,)
        What is drawn on each: ``"circle"``, ``"cross"``, ``"square"``, ``"star"`` or
        ``"triangle"``.

    Examples
    --------
    >>> from sktl.datasets import make_shapes
    >>> X, y = make_shapes(50, random_state=0)
    >>> X.shape, X.dtype
    ((50, 96, 96, 3), dtype('uint8'))
    >>> sorted(set(y.tolist()))
    ['circle', 'cross', 'square', 'star', 'triangle']
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = check_random_state(random_state)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    y = rng.permutation(np.resize(sorted(_CORNERS), n_images))
    X = np.empty((n_images, size, size, 3), np.uint8)
    for i, name in enumerate(y):
        photo = photos[rng.randint(len(photos))]
        side = rng.randint(100, 300)
        left, top = rng.randint(photo.width - side), rng.randint(photo.height - side)
        box = (left, top, left + side, top + side)
        X[i] = np.asarray(
            _draw(photo.resize((4 * size,) * 2, box=box), name, rng, size)
        )
    return X, y


def _draw(background, name: str, rng: np.random.RandomState, size: int):
    """Return the background, four times too large, with one shape, at ``size``."""
    from PIL import Image, ImageDraw

    full = background.width
    radius = full * rng.uniform(0.18, 0.34)
    x, y = rng.uniform(radius, full - radius, 2)
    turn = rng.uniform()
    corners = [
        (
            x + far * radius * math.cos(2 * math.pi * (angle + turn)),
            y + far * radius * math.sin(2 * math.pi * (angle + turn)),
        )
        for angle, far in _CORNERS[name]
    ]
    colour = tuple(int(value) for value in rng.randint(0, 256, 3))
    ImageDraw.Draw(background).polygon(corners, fill=colour)
    return background.resize((size, size), Image.Resampling.BOX)
