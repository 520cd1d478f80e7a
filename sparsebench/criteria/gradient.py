"""Gradient: first-order change of the loss of the trained network if a weight were removed.

    score = |w * dL/dw|        gradient averaged over the batches given

The formula is SNIP's; the stage differs (trained network, evaluation mode).
Source: "GlobalMagGrad" of Blalock et al. 2020, arXiv:2003.03033.
"""

from __future__ import annotations

from torch import Tensor

from sparsebench.registry import criterion


@criterion(needs="gradient", mode="eval", examples=2048, paper="2003.03033")
def gradient(weight: Tensor, grad: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> gradient(tensor([1.0, -2.0, 3.0]), tensor([4.0, 1.0, 0.0]))
    tensor([4., 2., 0.])
    """
    return (weight * grad).abs()
