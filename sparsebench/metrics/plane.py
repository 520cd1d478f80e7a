"""Plane: features of many dimensions drawn in two, so that two networks can be laid side by side."""

from __future__ import annotations

import numpy as np


def principal(x_Nd: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean ``[d]``, the ``count`` directions ``[d, count]`` along which points vary most, and their shares of variance.

    The largest entry of a direction is positive. Directions that the points lack are 0.

    >>> mean, axes, shares = principal(np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]))
    >>> mean.tolist(), axes[:, 0].tolist(), shares.tolist()
    ([2.0, 1.0], [1.0, 0.0], [1.0, 0.0])
    """
    mean = x_Nd.mean(0)
    # Of the smaller of the two products: N or d may be large.
    centred = x_Nd - mean
    if x_Nd.shape[1] <= len(x_Nd):
        values, vectors = np.linalg.eigh(centred.T @ centred)
        found = vectors[:, ::-1][:, :count]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        across = centred.T @ vectors[:, ::-1][:, :count]
        length = np.linalg.norm(across, axis=0)
        found = across / np.where(length > 0, length, 1.0)
    values = values[::-1].clip(0)
    axes = np.zeros((x_Nd.shape[1], count))
    axes[:, : found.shape[1]] = found
    axes *= np.where(axes[np.abs(axes).argmax(0), np.arange(count)] < 0, -1.0, 1.0)
    shares = np.zeros(count)
    if values.sum() > 0:
        shares[: found.shape[1]] = (values / values.sum())[:count]
    return mean, axes, shares


def turn(points_N2: np.ndarray, onto_N2: np.ndarray) -> np.ndarray:
    """The rotation or reflection ``[2, 2]`` that brings points nearest to others: ``points @ turn``.

    >>> a = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, -2.0]])
    >>> quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
    >>> np.allclose(turn(a @ quarter, a), quarter.T)
    True
    """
    left, _, right = np.linalg.svd(points_N2.T @ onto_N2)
    return left @ right
