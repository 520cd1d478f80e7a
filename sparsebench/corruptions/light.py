"""Light: the whole image brighter, or flatter."""

from __future__ import annotations

from torch import Tensor

from sparsebench.corruptions import corruption
from sparsebench.corruptions.draw import Draw


@corruption(levels=(0.07, 0.14, 0.22, 0.3, 0.39))
def brightness(x: Tensor, level: float, draw: Draw) -> Tensor:
    """``level`` is added to every pixel.

    >>> brightness(Tensor([[[[0.0, 0.5]]]]), 0.25, None)
    tensor([[[[0.2500, 0.7500]]]])
    """
    return x + level


@corruption(levels=(0.75, 0.58, 0.43, 0.3, 0.18))
def contrast(x: Tensor, level: float, draw: Draw) -> Tensor:
    """A share ``level`` of every difference from the channel's mean is left.

    >>> contrast(Tensor([[[[0.0, 0.5]]]]), 0.5, None)
    tensor([[[[0.1250, 0.3750]]]])
    """
    mean = x.mean((2, 3), keepdim=True)
    return mean + level * (x - mean)
