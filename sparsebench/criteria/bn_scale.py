"""BN scale: the absolute scale of the batch norm behind a filter (network slimming).

    score_i = |gamma_i|

One global ranking as published. The L1 penalty on gamma that the paper trains with belongs to a task's recipe and
is not part of the criterion. Source: Liu et al. 2017, arXiv:1708.06519.
"""

from __future__ import annotations

from torch import Tensor

from sparsebench.registry import criterion


@criterion(
    structure="units",
    needs="norm",
    allocation="global",
    allocations=("global", "uniform"),
    regime="finetune",
    paper="1708.06519",
)
def bn_scale(gamma: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> bn_scale(tensor([1.0, -2.0]))
    tensor([1., 2.])
    """
    return gamma.abs()
