"""Drop and grow: the mask updates of dynamic sparse training, as pure functions."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sparsebench.selection import top_k


def rigl_update(weight: Tensor, grad: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """Drop the smallest ``|w|`` of the kept weights, grow as many where ``|dense grad|`` is largest.

        n = round(fraction * kept);  survivors = top (kept - n) by |w|;  grown = top n by |g| outside the survivors

    A weight just dropped may grow back. Shapes: all as the weight's; returns a bool mask of the same count.
    Source: Evci et al. 2020, arXiv:1911.11134 (Algorithm 1).

    >>> w, g = torch.tensor([3.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 2.0])
    >>> rigl_update(w, g, torch.tensor([True, True, False, False]), 0.5)
    tensor([ True, False, False,  True])
    """
    return _drop_and_grow(weight, grad.abs(), mask, fraction)


def set_update(weight: Tensor, mask: Tensor, fraction: float, generator: Generator) -> Tensor:
    """Drop the smallest ``|w|`` of the kept weights, grow as many at random.

    Source: Mocanu et al. 2018, arXiv:1707.04780, with one ranking by ``|w|`` in place of one for each sign.
    """
    chance = torch.rand(weight.shape, generator=generator).to(weight.device)
    return _drop_and_grow(weight, chance, mask, fraction)


def _drop_and_grow(weight: Tensor, growth: Tensor, mask: Tensor, fraction: float) -> Tensor:
    kept = int(mask.sum())
    # No more can move than there are places free to grow into.
    moved = min(round(fraction * kept), mask.numel() - kept)
    if moved == 0:
        return mask.clone()
    # NaN (a step that mixed precision skipped) ranks lowest: the count stays the same whatever the numbers.
    magnitude = weight.abs().nan_to_num(0.0).masked_fill(~mask, -1.0).flatten()
    survivors = top_k(magnitude, kept - moved)
    grown = top_k(growth.nan_to_num(0.0).flatten().masked_fill(survivors, -1.0), moved)
    return (survivors | grown).view(mask.shape)
