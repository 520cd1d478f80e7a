"""Digital: what is lost when an image is bent, made smaller, or stored."""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, sqrt

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsebench.corruptions import corruption
from sparsebench.corruptions.draw import Draw
from sparsebench.corruptions.geometry import length, places, sampled, waves

BLOCK = 8
"""Pixels a side of what JPEG transforms at once."""
NUDGE = 1e-6
"""Added before rounding, so that exact halves round alike wherever the last bit of a sum comes out otherwise."""
LUMA = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Red, green and blue to brightness and two colour differences (ITU-R BT.601)."""


@corruption(levels=(0.03, 0.05, 0.075, 0.105, 0.14))
def elastic(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Every place is drawn aside smoothly, by at most ``level`` of the side in each direction."""
    rows, columns = places(x)
    off = (2 * waves(draw, x, 6, channels=2) - 1) * length(level, x)
    return sampled(x, rows + off[:, 0], columns + off[:, 1])


@corruption(levels=(0.75, 0.625, 0.5, 0.375, 0.25))
def pixelate(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Averaged over squares, ``level`` of the side's pixels on a side; a pixel on two squares shows both."""
    down, across = (_squares(max(1, round(level * n)), n).to(x) for n in x.shape[-2:])
    return down @ x @ across.T


def _squares(few: int, many: int) -> Tensor:
    """What each of so many pixels in a row becomes of the others, ``[many, many]``.

    >>> _squares(1, 2)
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]], dtype=torch.float64)
    """
    of_few, of_many = (torch.arange(n + 1, dtype=torch.float64) / n for n in (few, many))
    ends = torch.minimum(of_few[1:, None], of_many[None, 1:])
    shared = (ends - torch.maximum(of_few[:-1, None], of_many[None, :-1])).clamp(min=0)
    return (shared.T * many) @ (shared * few)


@corruption(levels=(0.025, 0.045, 0.075, 0.12, 0.2))
def jpeg(x: Tensor, level: float, draw: Draw) -> Tensor:
    """Cosine coefficients of 8 x 8 blocks, rounded to steps.

    The step of coefficient (u, v) is ``level * (1 + (u + v) / 2)``, of colour twice that; pixels run from 0 to 1.
    """
    height, width = x.shape[-2:]
    down, across = -height % BLOCK, -width % BLOCK
    planes = pad(x, (0, across, 0, down), mode="replicate")
    colour = x.new_tensor(LUMA)
    if x.shape[1] == 3:
        planes = torch.stack([sum(w * planes[:, c] for c, w in enumerate(row)) for row in LUMA], dim=1)
    rounded = _rounded(planes, level)
    if x.shape[1] == 3:
        back = torch.linalg.inv(colour.double()).tolist()
        rounded = torch.stack([sum(w * rounded[:, c] for c, w in enumerate(row)) for row in back], dim=1)
    return rounded[..., :height, :width]


def _rounded(x: Tensor, level: float) -> Tensor:
    """Planes in steps; the second and third are colour, with steps twice as large."""
    n, channels, height, width = x.shape
    transform = _cosines().to(x)
    blocks = x.reshape(n, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
    coefficients = transform @ blocks @ transform.T
    speed = torch.arange(BLOCK, dtype=x.dtype, device=x.device)
    steps = level * (1 + (speed[:, None] + speed[None, :]) / 2)
    steps = torch.stack([steps if c == 0 or channels != 3 else 2 * steps for c in range(channels)])[:, None, None]
    coefficients = (coefficients / steps + 0.5 + NUDGE).floor() * steps
    return (transform.T @ coefficients @ transform).transpose(3, 4).reshape(x.shape)


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """The orthonormal cosine transform (DCT-II) of 8 values."""
    rows = [
        [cos(pi * (2 * i + 1) * k / (2 * BLOCK)) * sqrt((2 if k else 1) / BLOCK) for i in range(BLOCK)]
        for k in range(BLOCK)
    ]
    return torch.tensor(rows, dtype=torch.float64)
