"""Noise: every pixel and channel on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsebench.corruptions import corruption
from sparsebench.corruptions.draw import Draw

TONES = 255
"""Brightnesses that counting light tells apart; images have no more."""


@corruption(levels=(0.04, 0.07, 0.1, 0.14, 0.19))
def gaussian_noise(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Normal noise of standard deviation ``level``: poor light."""
    return x + level * draw.normal(*x.shape[1:]).to(x.dtype)


@corruption(levels=(200.0, 90.0, 45.0, 22.0, 11.0))
def shot_noise(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Poisson noise: white is ``level`` particles of light."""
    tone = (x * TONES).round().long()
    means = torch.arange(TONES + 1, dtype=torch.float64) / TONES * level
    most = int(level + 8 * level**0.5 + 8)
    # One sorted table for all tones: tone t takes the stretch from t to t + 1.
    table = (_poisson(means, most) + torch.arange(TONES + 1)[:, None]).flatten().to(x.device)
    found = torch.searchsorted(table, draw.uniform(*x.shape[1:]) + tone)
    return (found - tone * (most + 1)).clamp(min=0).to(x.dtype) / level


def _poisson(means: Tensor, most: int) -> Tensor:
    """Probability of at most k particles, ``[means, most + 1]``; the last is 1.

    >>> _poisson(torch.tensor([0.0, 1.0]), 2)
    tensor([[1.0000, 1.0000, 1.0000],
            [0.3679, 0.7358, 1.0000]])
    """
    k = torch.arange(most + 1, dtype=means.dtype)
    logs = torch.special.xlogy(k, means[:, None]) - means[:, None] - torch.lgamma(k + 1)
    up_to = logs.exp().cumsum(1).clamp(max=1)
    up_to[:, -1] = 1
    return up_to


@corruption(levels=(0.01, 0.025, 0.05, 0.09, 0.14))
def impulse_noise(x: Tensor, level: float, draw: Draw) -> Tensor:
    """A share ``level`` of the pixels is black or white: faulty bits."""
    u = draw.uniform(*x.shape[1:])
    return torch.where(u < level, (u < level / 2).to(x.dtype), x)
