"""Geometry: what blurs, distortions and textures are made of; sums have one order, whatever the batch."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from sparsebench.corruptions.draw import Draw

SMALLEST = 16
"""Images smaller than this are spoilt as if they had this size: a fiftieth of 8 pixels would be nothing."""


def length(share: float, x_NCHW: Tensor) -> float:
    """A share of the image's smaller side, in pixels."""
    return share * max(SMALLEST, min(x_NCHW.shape[-2:]))


def disc(radius: float) -> Tensor:
    """Weights ``[k, k]`` of a round aperture that fades out over one pixel more; they sum to 1."""
    weight = (radius + 1 - _distance(ceil(radius))).clamp(0, 1)
    return weight / weight.sum()


def bell(sigma: float) -> Tensor:
    """Weights ``[k, k]`` of a Gaussian cut off at three sigma; they sum to 1."""
    weight = (-0.5 * (_distance(ceil(3 * sigma)) / sigma) ** 2).exp()
    return weight / weight.sum()


def _distance(reach: int) -> Tensor:
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    return (axis[:, None] ** 2 + axis[None, :] ** 2).sqrt()


def blurred(x_NCHW: Tensor, weight: Tensor) -> Tensor:
    """Every pixel as the weighted mean of its neighbours; the border is repeated outwards."""
    reach, (height, width) = len(weight) // 2, x_NCHW.shape[-2:]
    wide = pad(x_NCHW, (reach,) * 4, mode="replicate")
    total = torch.zeros_like(x_NCHW)
    for row, weights in enumerate(weight.tolist()):
        for column, w in enumerate(weights):
            if w:
                total.add_(wide[..., row : row + height, column : column + width], alpha=w)
    return total


def places(x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel, ``[1, H, 1]`` and ``[1, 1, W]``."""
    rows, columns = (torch.arange(n, dtype=x_NCHW.dtype, device=x_NCHW.device) for n in x_NCHW.shape[-2:])
    return rows[None, :, None], columns[None, None, :]


def sampled(x_NCHW: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The image as seen at other places (pixels; anything that broadcasts to ``[N, H, W]``), bilinear."""
    n, _, height, width = x_NCHW.shape
    across, down = (2 * at / max(size - 1, 1) - 1 for at, size in ((columns, width), (rows, height)))
    shape = (n, height, width)
    grid = torch.stack([across.expand(shape), down.expand(shape)], dim=-1)
    return grid_sample(x_NCHW, grid, mode="bilinear", padding_mode="border", align_corners=True)


def smeared(x_NCHW: Tensor, angle_N: Tensor, pixels: float) -> Tensor:
    """The mean along a line of so many pixels through every pixel, in a direction of each image's own."""
    rows, columns = places(x_NCHW)
    down, across = (f(angle_N)[:, None, None].to(x_NCHW.dtype) for f in (torch.sin, torch.cos))
    steps = torch.linspace(-pixels / 2, pixels / 2, max(2, ceil(pixels)) + 1, dtype=torch.float64).tolist()
    total = torch.zeros_like(x_NCHW)
    for step in steps:
        total.add_(sampled(x_NCHW, rows + step * down, columns + step * across), alpha=1 / len(steps))
    return total


def waves(draw: Draw, x_NCHW: Tensor, knots: int, channels: int = 1) -> Tensor:
    """Smooth noise in [0, 1], ``[N, channels, H, W]``: random values at knots, ``knots`` a side, linear between."""
    size = x_NCHW.shape[-2:]
    grid = draw.uniform(channels, *(min(knots, side) for side in size))
    return interpolate(grid, size=size, mode="bilinear", align_corners=True).to(x_NCHW.dtype)


def clouds(draw: Draw, x_NCHW: Tensor, roughness: float) -> Tensor:
    """Smooth noise of many sizes in [0, 1], ``[N, 1, H, W]``; each size half the last and ``roughness`` as strong."""
    knots, weight, whole = 3, 1.0, 0.0
    total = torch.zeros_like(x_NCHW[:, :1])
    while knots <= max(5, min(x_NCHW.shape[-2:])):
        total.add_(waves(draw, x_NCHW, knots), alpha=weight)
        whole, weight, knots = whole + weight, weight * roughness, 2 * knots - 1
    return total / whole
