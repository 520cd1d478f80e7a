"""L1: the sum of a unit's absolute weights.

    score_i = sum |W_i|        W_i: filter, neuron or query, key and value rows of a head

The same share of every layer as published; under one global ranking divided by the layer's mean.
Source: Li et al. 2017, arXiv:1608.08710.
"""

from __future__ import annotations

from torch import Tensor

from sparsebench.registry import criterion


@criterion(
    structure="units",
    needs="weight",
    allocation="uniform",
    allocations=("uniform", "global"),
    per_layer=True,
    regime="finetune",
    paper="1608.08710",
)
def l1(rows: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> l1(tensor([[1.0, -2.0], [0.0, 0.5]]))
    tensor([3.0000, 0.5000])
    """
    return rows.abs().sum(1)
