"""Geometry of the last layer: the loss of a sample as angle, length and distance to the decision boundary.

The feature ``x`` is what the last linear layer is given, ``W_i`` and ``b_i`` are a class's weights and bias, so that
``z_i = W_i . x + b_i = ||W_i|| ||x|| cos(angle_i) + b_i``. The angle says how right, the length how sure, the margin
how much the feature may be disturbed before the decision changes.

Source of the three quantities: Li et al., arXiv:2206.07918; the closed form of the margin is the usual one of a linear
classifier. All of it is worked out in 64 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor


def angles(x_Nd: Tensor, weight_Kd: Tensor) -> Tensor:
    """Degrees between each feature and each class's weights, ``[N, K]``: arccos of ``W . x / (||W|| ||x||)``.

    A feature or a class direction that is 0 has no direction: 90 degrees. Of numbers that are not finite: NaN.

    >>> angles(torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), torch.tensor([[3.0, 0.0], [-1.0, 0.0]])).round()
    tensor([[  0., 180.],
            [ 45., 135.],
            [ 90.,  90.]], dtype=torch.float64)
    """
    x, w = x_Nd.double(), weight_Kd.double()
    # Scaled first: a product of two tiny lengths would be 0.
    unit = [v / torch.where(v.norm(dim=1, keepdim=True) > 0, v.norm(dim=1, keepdim=True), 1.0) for v in (x, w)]
    return (unit[0] @ unit[1].T).clamp(-1, 1).arccos().rad2deg()


def lengths(x_Nd: Tensor) -> Tensor:
    """Euclidean length of each feature, ``[N]``."""
    return x_Nd.double().norm(dim=1)


def margins(x_Nd: Tensor, weight_Kd: Tensor, bias_K: Tensor | None, label_N: Tensor) -> Tensor:
    """Signed distance of each feature to the boundary of its class, ``[N]``.

        min over j != y of (z_y - z_j) / ||W_y - W_j||

    Of a sample that is recognised this is the Euclidean distance to the nearest feature with another decision. Below 0:
    another class's logit is larger, and it is the distance to the farthest of the planes that lie between (the
    nearest feature that would be recognised is at least that far). A tie is 0. Classes of equal weights are
    infinitely far apart, unless their biases are equal too. Not finite features are infinitely wrong.

    >>> w, b = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), torch.zeros(3)
    >>> margins(torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 1.0]]), w, b, torch.tensor([0, 1, 0]))
    tensor([ 1.4142, -2.0000,  0.7071], dtype=torch.float64)
    """
    x, w = x_Nd.double(), weight_Kd.double()
    z = x @ w.T + (0 if bias_K is None else bias_K.double())
    rows = torch.arange(len(z))
    over = z[rows, label_N][:, None] - z
    apart = torch.cdist(w, w, compute_mode="donot_use_mm_for_euclid_dist")[label_N]
    far = torch.where(over == 0, 0.0, over.sign() * torch.inf)
    ratio = torch.where(apart > 0, over / apart.where(apart > 0, torch.ones(())), far)
    ratio[rows, label_N] = torch.inf
    return torch.where(z.isfinite().all(1), ratio.min(1).values, -torch.inf)


def auroc(score_N: np.ndarray, positive_N: np.ndarray) -> float | None:
    """Probability that a positive scores above a negative, ties counting half; None without both.

    >>> auroc(np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, False, False, True]))
    0.625
    """
    n, hits = len(score_N), int(positive_N.sum())
    if not 0 < hits < n:
        return None
    rank = rankdata(score_N)[positive_N].sum()
    return float((rank - hits * (hits + 1) / 2) / (hits * (n - hits)))


def auroc_within(score_N: np.ndarray, positive_N: np.ndarray, group_N: np.ndarray) -> float | None:
    """The same for a positive and a negative of one group: the mean over groups, weighted by such pairs.

    >>> auroc_within(np.array([1.0, 0.0, 9.0, 8.0]), np.array([True, False, True, False]), np.array([0, 0, 1, 1]))
    1.0
    """
    total, pairs = 0.0, 0
    for group in np.unique(group_N):
        of = group_N == group
        hits, n = int(positive_N[of].sum()), int(of.sum())
        if 0 < hits < n:
            total += auroc(score_N[of], positive_N[of]) * hits * (n - hits)
            pairs += hits * (n - hits)
    return total / pairs if pairs else None


def by_class(
    label_N: np.ndarray, angle_N: np.ndarray, length_N: np.ndarray, margin_N: np.ndarray, classes: int
) -> dict[str, list]:
    """What the samples of each class are like: ``n``, ``recall``, means of ``angle`` and ``length``, median ``margin``.

    A class without samples has None. Recall is the share of positive margins.

    >>> by_class(np.array([0, 0]), np.array([10.0, 30.0]), np.array([1.0, 3.0]), np.array([2.0, -1.0]), 2)
    {'n': [2, 0], 'recall': [0.5, None], 'angle': [20.0, None], 'length': [2.0, None], 'margin': [0.5, None]}
    """
    rows = [label_N == k for k in range(classes)]
    value = {
        "recall": lambda of: np.mean(margin_N[of] > 0),
        "angle": lambda of: np.mean(angle_N[of]),
        "length": lambda of: np.mean(length_N[of]),
        "margin": lambda of: np.median(margin_N[of]),
    }
    of_class = {name: [finite(f(of)) if of.any() else None for of in rows] for name, f in value.items()}
    return {"n": [int(of.sum()) for of in rows], **of_class}


def finite(value: Any, digits: int = 6) -> float | None:
    """A number for JSON, rounded; None for what is not finite.

    >>> finite(float("inf")), finite(1 / 3)
    (None, 0.333333)
    """
    number = float(value)
    return round(number, digits) if np.isfinite(number) else None
