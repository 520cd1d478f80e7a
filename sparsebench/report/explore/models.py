"""Models: networks laid out by what they make of the same images.

The vector of a network is its images' angles, lengths and margins one after the other, each of the three standardised
over all networks and images. Networks are joined by the minimum spanning tree of the vectors' Euclidean distances;
places are the vectors' two main directions, or UMAP's where it is installed and asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsebench.errors import UsageError, unknown
from sparsebench.metrics.plane import principal

LAYOUTS = ("pca", "umap")


def layout(parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], how: str = "pca") -> dict[str, Any]:
    """Places, edges and the share of variance of the two directions (None of UMAP's).

    Args:
        parts: angle, length and margin of the same images, for each network.

    Raises:
        UsageError: UMAP is not installed.
    """
    vectors = np.concatenate([standardised(np.stack(quantity)) for quantity in zip(*parts, strict=True)], axis=1)
    edges = spanning_tree(np.sqrt(((vectors[:, None] - vectors[None]) ** 2).sum(-1)))
    if how == "umap":
        return {"places": _umap(vectors).round(3).tolist(), "edges": edges, "share": None}
    if how != "pca":
        raise unknown("map", how, LAYOUTS, "one of pca, umap")
    mean, axes, share = principal(vectors)
    return {"places": ((vectors - mean) @ axes).round(3).tolist(), "edges": edges, "share": share.round(4).tolist()}


def standardised(values: np.ndarray) -> np.ndarray:
    """With mean 0 and variance 1 over all entries; what is not finite is 0, the mean.

    >>> standardised(np.array([[1.0, 3.0], [np.nan, 2.0]])).round(2).tolist()
    [[-1.22, 1.22], [0.0, 0.0]]
    """
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if np.isnan(values).all():
        return np.zeros_like(values)
    spread = np.nanstd(values)
    return np.nan_to_num((values - np.nanmean(values)) / (spread if spread > 0 else 1.0))


def spanning_tree(distance_MM: np.ndarray) -> list[list[int]]:
    """The edges of least total length that join all points, ``[[from, to], ...]`` (Prim's algorithm).

    >>> spanning_tree(np.abs(np.subtract.outer([0.0, 5.0, 1.0], [0.0, 5.0, 1.0])))
    [[0, 2], [2, 1]]
    """
    count = len(distance_MM)
    near, source, edges = distance_MM[0].copy(), np.zeros(count, dtype=int), []
    outside = np.ones(count, dtype=bool)
    outside[0] = False
    for _ in range(count - 1):
        new = int(np.where(outside, near, np.inf).argmin())
        edges.append([int(source[new]), new])
        outside[new] = False
        closer = outside & (distance_MM[new] < near)
        near[closer], source[closer] = distance_MM[new][closer], new
    return edges


def _umap(vectors: np.ndarray) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError:
        raise UsageError(
            "--map umap: umap is not installed; install it (pip install umap-learn) or leave the option out"
        ) from None
    if len(vectors) < 4:
        raise UsageError(f"--map umap: {len(vectors)} networks are too few for it; leave the option out")
    return np.asarray(
        UMAP(n_components=2, n_neighbors=min(15, len(vectors) - 1), random_state=0).fit_transform(vectors)
    )
