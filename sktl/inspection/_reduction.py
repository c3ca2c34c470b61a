"""Embeddings in two dimensions."""

from __future__ import annotations

import numpy as np

from sktl._extras import has_module
from sktl.exceptions import MissingExtraError

_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def name_of(method) -> str:
    """Return what to call a method."""
    return _NAMES[method] if isinstance(method, str) else type(method).__name__


def in_two_dimensions(
    embeddings, method, random_state
) -> tuple[np.ndarray, tuple[str, str]]:
    """Return positions in two dimensions, and what the axes mean."""
    n, d = embeddings.shape
    if n < 3 or d < 2:
        raise ValueError(
            f"A map needs at least 3 embeddings of 2 features, and there are {n} of "
            f"{d}."
        )
    no_labels = ("", "")
    if not isinstance(method, str):
        positions = np.asarray(method.fit_transform(embeddings))
        if positions.shape != (n, 2):
            raise ValueError(
                f"method={method!r} gave positions of shape {positions.shape}; a map "
                f"needs ({n}, 2). Set its n_components=2."
            )
        return positions, no_labels
    if method == "pca":
        from sklearn.decomposition import PCA

        solver = "full" if d <= 500 else "randomized"
        pca = PCA(2, svd_solver=solver, random_state=random_state)
        positions = pca.fit_transform(embeddings)
        first, second = 100 * pca.explained_variance_ratio_
        return positions, (
            f"first component ({first:.0f} % of the variance)",
            f"second component ({second:.0f} %)",
        )
    if method == "tsne":
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE

        if d > 50 and n > 50:  # as scikit-learn advises: faster, and less noise
            pca = PCA(50, svd_solver="randomized", random_state=random_state)
            embeddings = pca.fit_transform(embeddings)
        perplexity = min(30.0, (n - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=random_state)
        return tsne.fit_transform(embeddings), no_labels
    if method == "umap":
        if not has_module("umap"):
            raise MissingExtraError(
                "method='umap' needs the package umap-learn: pip install umap-learn. "
                "method='tsne' needs nothing more."
            )
        from umap import UMAP

        reducer = UMAP(random_state=random_state, n_jobs=1)  # what a seed asks for
        return np.asarray(reducer.fit_transform(embeddings)), no_labels
    raise ValueError(
        f"method={method!r} is unknown. Choose 'pca', 'tsne', 'umap' or pass a "
        "transformer to two dimensions."
    )
