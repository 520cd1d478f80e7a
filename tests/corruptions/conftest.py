"""Images on which every corruption can be seen: the digits of the test split, and soft colour fields of two sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate


def digit_images() -> Tensor:
    from sparsebench.data.digits import digits

    return digits(None).test.images.double() / 255


def natural(side: int, channels: int, n: int = 24) -> Tensor:
    """Sums of smooth random fields, coarse ones strongest, as in photographs."""
    generator = torch.Generator().manual_seed(side + channels)
    total = torch.zeros(n, channels, side, side, dtype=torch.float64)
    for knots in (3, 5, 9, 17, 33):
        field = torch.rand(n, channels, knots, knots, generator=generator, dtype=torch.float64)
        total += interpolate(field, size=(side, side), mode="bilinear", align_corners=True) / knots
    low, high = total.amin((1, 2, 3), keepdim=True), total.amax((1, 2, 3), keepdim=True)
    return (total - low) / (high - low)


@pytest.fixture(scope="session")
def pictures() -> dict[str, Tensor]:
    return {
        "digits": digit_images(),
        "grey 28": natural(28, 1),
        "colour 32": natural(32, 3),
        "colour 96": natural(96, 3, 4),
    }
