"""Taylor-FO: squared first-order change of the loss if a unit's output were removed.

    score_i = sum over mini-batches of (dL/dz_i)^2,   z_i = 1: a factor on the unit's output after its batch norm
    dL/dz_i = sum over theta in which that output is linear of theta * dL/dtheta

L is the mean loss of a mini-batch, so scores depend on how the data are cut into mini-batches, as published (256 in
a benchmark run). One shot; the release averages scores with momentum 0.9 while it removes units step by step. One
global ranking of raw scores. Source: Molchanov et al. 2019, arXiv:1906.10771 (eq. 8).
"""

from __future__ import annotations

from torch import Tensor

from sparsebench.registry import criterion


@criterion(
    structure="units",
    needs="gradient",
    mode="eval",
    examples=2048,
    batch=256,
    allocation="global",
    allocations=("global", "uniform"),
    regime="finetune",
    paper="1906.10771",
)
def taylor(rows: Tensor, grad_rows: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> taylor(tensor([[1.0, 2.0], [1.0, 1.0]]), tensor([[3.0, -1.0], [1.0, -1.0]]))
    tensor([1., 0.])
    """
    return (rows * grad_rows).sum(1).square()
