"""LAMP: magnitude relative to what survives in the same layer.

    score[u] = w_u^2 / sum of w_v^2 over u and all v ranked above it by |w|

Among equal magnitudes the first ranks above the others, as everywhere. The largest weight of each layer
scores exactly 1, so no layer is emptied. Weights already pruned are 0 and leave the sums of the others as
they are. Source: Lee et al. 2021, arXiv:2010.07611 (eq. 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsebench.registry import criterion


@criterion(needs="weight", within_layer_order="magnitude", paper="2010.07611")
def lamp(weight: Tensor) -> Tensor:
    """>>> from torch import tensor
    >>> lamp(tensor([2.0, -1.0, 1.0]))
    tensor([1.0000, 0.2000, 0.1667])
    """
    squares, order = weight.detach().flatten().double().square().sort(stable=True, descending=True)
    at_least = squares.cumsum(0)
    ratio = torch.where(at_least > 0, squares / at_least, 0.0)
    return torch.empty_like(ratio).scatter_(0, order, ratio).view(weight.shape).to(weight.dtype)
