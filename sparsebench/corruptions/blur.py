"""Blur: light that lands beside its pixel. Levels are shares of the image's side."""

from __future__ import annotations

from math import ceil, pi

import torch
from torch import Tensor

from sparsebench.corruptions import corruption
from sparsebench.corruptions.draw import Draw
from sparsebench.corruptions.geometry import bell, blurred, disc, length, places, sampled, smeared


@corruption(levels=(0.02, 0.03, 0.042, 0.056, 0.075))
def defocus_blur(x: Tensor, level: float, draw: Draw) -> Tensor:
    """The mean over a round aperture of radius ``level``."""
    return blurred(x, disc(length(level, x)))


@corruption(levels=(0.015, 0.022, 0.031, 0.043, 0.06))
def glass_blur(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Every pixel is seen about ``level`` beside its place, then blurred a little: frosted glass."""
    rows, columns = places(x)
    off = draw.normal(2, *x.shape[-2:]).to(x.dtype) * length(level, x)
    return blurred(sampled(x, rows + off[:, 0], columns + off[:, 1]), bell(length(level / 2, x)))


@corruption(levels=(0.06, 0.1, 0.15, 0.21, 0.29))
def motion_blur(x: Tensor, level: float, draw: Draw) -> Tensor:
    """The mean along a line of length ``level`` in a random direction: a camera that moved."""
    return smeared(x, draw.uniform() * pi, length(level, x))


@corruption(levels=(0.08, 0.14, 0.21, 0.3, 0.42))
def zoom_blur(x: Tensor, level: float, draw: Draw) -> Tensor:
    """The mean over magnifications from 1 to ``1 + level``: a camera that came closer."""
    rows, columns = places(x)
    middle, centre = ((n - 1) / 2 for n in x.shape[-2:])
    steps = ceil(length(level, x) / 2) + 2
    total = torch.zeros_like(x)
    for step in range(steps):
        zoom = 1 + level * step / (steps - 1)
        total.add_(sampled(x, middle + (rows - middle) / zoom, centre + (columns - centre) / zoom), alpha=1 / steps)
    return total
