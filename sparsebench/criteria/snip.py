"""SNIP: connection sensitivity at initialisation.

    score = |w * dL/dw|        on a few labelled examples (10 a class), training mode

The published normalisation by the global sum does not change the ranking and is left out.
Source: Lee et al. 2019, arXiv:1810.02340.
"""

from __future__ import annotations

from torch import Tensor

from sparsebench.registry import criterion


@criterion(regime="init", needs="gradient", mode="train", per_class=10, paper="1810.02340")
def snip(weight: Tensor, grad: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> snip(tensor([1.0, -2.0, 3.0]), tensor([4.0, 1.0, 0.0]))
    tensor([4., 2., 0.])
    """
    return (weight * grad).abs()
