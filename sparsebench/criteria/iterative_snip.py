"""Iterative SNIP: connection sensitivity at initialisation, measured anew while the mask is tightened.

    score = |w * dL/dw|        of the network masked so far; 100 rounds, density d^(k/100) after round k

SNIP removes everything by one look at the dense network; here a weight is judged beside those that are left. Pruned
weights do not return (Iter SNIP and SNIP-it; FORCE lets them). Training mode, 10 examples a class, as SNIP.
Sources: de Jorge et al. 2021, arXiv:2006.09081 (exponential schedule); Verdenius et al. 2020, arXiv:2006.00896.
"""

from __future__ import annotations

from torch import Tensor

from sparsebench.registry import criterion


@criterion(regime="init", needs="gradient", mode="train", per_class=10, rounds=100, paper="2006.09081")
def iterative_snip(weight: Tensor, grad: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> iterative_snip(tensor([1.0, -2.0, 0.0]), tensor([4.0, 1.0, 5.0]))
    tensor([4., 2., 0.])
    """
    return (weight * grad).abs()
