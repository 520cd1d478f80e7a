"""FPGM: how far a unit is from all others of its layer; the most replaceable ones go first.

    score_i = sum over j of ||W_i - W_j||_2

The smallest sum is nearest to the geometric median of the layer. Pruned once and fine-tuned here; the release
mixes in the norm and lets filters come back every epoch. The same share of every layer as published; under one
global ranking divided by the layer's mean. Source: He et al. 2019, arXiv:1811.00250 (eq. 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsebench.registry import criterion


@criterion(
    structure="units",
    needs="weight",
    allocation="uniform",
    allocations=("uniform", "global"),
    per_layer=True,
    regime="finetune",
    paper="1811.00250",
)
def fpgm(rows: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> fpgm(tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]))
    tensor([ 5., 10.,  5.])
    """
    # In float64, as wide layers go through |a|^2 + |b|^2 - 2ab, which cancels for near neighbours.
    rows64 = rows.double()
    return torch.cdist(rows64, rows64).sum(1).to(rows.dtype)
