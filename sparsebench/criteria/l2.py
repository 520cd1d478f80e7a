"""L2: the Euclidean norm of a unit's weights.

    score_i = ||W_i||_2        W_i: filter, neuron or query, key and value rows of a head

The same share of every layer; under one global ranking divided by the layer's mean.
Source: the L2 variant compared in Li et al. 2017, arXiv:1608.08710.
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
def l2(rows: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> l2(tensor([[3.0, -4.0], [0.0, 0.5]]))
    tensor([5.0000, 0.5000])
    """
    return rows.norm(dim=1)
