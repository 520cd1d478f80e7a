"""Magnitude: the absolute value of the weight.

    score = |w|

Global ranking is the strongest simple baseline; it keeps one weight in every tensor as a guard.
Source: Han et al. 2015, arXiv:1506.02626.
"""

from __future__ import annotations

from torch import Tensor

from sparsebench.registry import criterion


@criterion(needs="weight", floor=1, paper="1506.02626")
def magnitude(weight: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> magnitude(tensor([1.0, -2.0, 0.5]))
    tensor([1.0000, 2.0000, 0.5000])
    """
    return weight.abs()
