"""Weather: something lies between the camera and the scene."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from sparsebench.corruptions import corruption
from sparsebench.corruptions.draw import Draw
from sparsebench.corruptions.geometry import clouds, length, smeared, waves

ICE = (0.82, 0.9, 1.0)
"""Red, green and blue of ice."""


@corruption(levels=(0.02, 0.04, 0.07, 0.11, 0.16))
def snow(x: Tensor, level: float, draw: Draw) -> Tensor:
    """White flakes on a share ``level`` of the pixels, falling one way, and a pale scene behind them."""
    seeds, angle = draw.uniform(1, *x.shape[-2:]).to(x.dtype), (0.25 + draw.uniform() / 2) * pi
    # A flake's brightness falls to nothing at the share's edge: no pixel jumps.
    flakes = ((level - seeds) / level).clamp(min=0).sqrt()
    falling = (2.5 * smeared(flakes, angle, length(0.08, x))).clamp(max=1)
    pale = x + 1.2 * level * (1 - x)
    return pale + falling * (1 - pale)


@corruption(levels=(0.2, 0.32, 0.45, 0.58, 0.72))
def frost(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Ice crystals, thickest where a slow noise is high, hide up to ``level`` of the scene."""
    thick = 0.35 + 0.65 * waves(draw, x, 4)
    crystals = torch.zeros_like(x[:, :1])
    for knots, weight in ((6, 0.5), (12, 0.3), (24, 0.2)):
        # Ridges: bright where the noise passes its middle, as the veins of ice.
        crystals.add_((1 - (2 * waves(draw, x, knots) - 1).abs()) ** 2, alpha=weight)
    tint = x.new_tensor(ICE if x.shape[1] == 3 else [0.9] * x.shape[1]).view(1, -1, 1, 1)
    cover = level * thick
    return x * (1 - cover) + cover * tint * (0.3 + 0.7 * crystals)


@corruption(levels=(0.3, 0.5, 0.8, 1.2, 1.7))
def fog(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Light that passes falls by ``exp(-level * thickness)``, the rest is grey; thickness varies as clouds do."""
    passes = (-level * (0.4 + 0.9 * clouds(draw, x, 0.6))).exp()
    return x * passes + 0.8 * (1 - passes)
