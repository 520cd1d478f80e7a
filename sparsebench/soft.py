"""Soft: the rules of training with latent weights (Top-KAST, STR, movement), as pure functions.

The network computes with an effective weight, sparse; the optimiser changes a latent one, dense.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparsebench.masks import Masks
from sparsebench.selection import select, top_k


def topkast_masks(
    weights: Mapping[str, Tensor], density: float, extra: float, allocation: str = "uniform"
) -> tuple[Masks, Masks]:
    """Forward masks A = top ``density`` by ``|w|``, backward masks B = top ``density + extra``, a superset.

    Weights of any shape; the masks have it too. Densities above 1 count as 1. NaN (a diverged training) ranks
    last, so that counts stay exact. A global ranking keeps one weight in every tensor, as magnitude pruning does.
    Source: Jayakumar et al. 2020, arXiv:2106.03517 (section 2).

    >>> forward, backward = topkast_masks({"w": torch.tensor([3.0, -2.0, 1.0, 0.5])}, 0.25, 0.5)
    >>> forward["w"].tolist(), backward["w"].tolist()
    ([True, False, False, False], [True, True, True, False])
    """
    magnitude = {n: w.abs().nan_to_num(0.0) for n, w in weights.items()}
    forward = select(magnitude, density, allocation=allocation, floor=1)
    wider = select(magnitude, min(1.0, density + extra), allocation=allocation, floor=1)
    # Rounding may give a tensor one weight less at the larger density.
    return forward, Masks({n: wider[n] | mask for n, mask in forward.items()})


def soft_threshold(weight: Tensor, threshold: Tensor) -> Tensor:
    """The weight, pulled towards 0 by ``sigmoid(s)``: ``sign(w) relu(|w| - sigmoid(s))``.

    Shapes: weight any, ``threshold`` the scalar s; returns the weight's shape.
    Source: Kusupati et al. 2020, arXiv:2002.03231 (eq. 3 with g = sigmoid).

    >>> soft_threshold(torch.tensor([1.0, -0.75, 0.5, -0.25]), torch.tensor(0.0)).tolist()
    [0.5, -0.25, 0.0, 0.0]
    """
    bound = threshold.sigmoid()
    return weight - weight.clamp(-bound, bound)


def threshold_shift(weights: Mapping[str, Tensor], thresholds: Tensor, kept: int) -> tuple[Masks, Tensor]:
    """Masks of exactly ``kept`` weights, and the shift c of all thresholds under which just those survive.

        survives: |w| > sigmoid(s_l + c)        as  logit(|w|) - s_l > c

    c is the largest ``logit(|w|) - s_l`` among what is removed. ``thresholds`` ``[layers]`` holds the s_l in the
    order of the weights. ``|w| >= 1`` survives before everything else; NaN ranks last. c is finite: where the
    exact one is not, sigmoid(s_l + c) becomes 0 or 1 in float32.

    >>> masks, shift = threshold_shift({"w": torch.tensor([0.9, -0.8, 0.5, 0.1])}, torch.zeros(1), 2)
    >>> masks["w"].tolist(), shift.item()
    ([True, True, False, False], 0.0)
    """
    parts = [
        (torch.logit(w.abs().clamp(max=1)) - s).flatten() for w, s in zip(weights.values(), thresholds, strict=True)
    ]
    flat = torch.cat(parts).nan_to_num(-torch.inf, torch.inf, -torch.inf)
    keep = top_k(flat, kept)
    shift = flat.masked_fill(keep, -torch.inf).max().nan_to_num(posinf=40.0, neginf=-40.0)
    chosen = keep.split([w.numel() for w in weights.values()])
    return Masks({n: k.view(w.shape) for (n, w), k in zip(weights.items(), chosen, strict=True)}), shift


def movement_increment(weight: Tensor, grad: Tensor) -> Tensor:
    """What one step adds to the movement score: ``-w dL/dw``, positive where the weight moves away from 0.

    ``weight`` is the latent one, ``grad`` the gradient by the effective one (straight through). The published
    constant factor is left out: it changes no ranking. Source: Sanh et al. 2020, arXiv:2005.07683 (eq. 4).

    >>> movement_increment(torch.tensor([1.0, -1.0]), torch.tensor([2.0, 2.0])).tolist()
    [-2.0, 2.0]
    """
    return -weight * grad
