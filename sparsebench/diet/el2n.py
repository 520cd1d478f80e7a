"""EL2N: how far a network's prediction is from the label.

    EL2N(x, y) = || softmax(f(x)) - onehot(y) ||_2        in [0, sqrt(2)], averaged over networks

Source: Paul et al., NeurIPS 2021, arXiv:2107.07075.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsebench.registry import example_score


@example_score(of="network", paper="2107.07075")
def el2n(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """How far predictions are from labels: scores [B] of images x [B, C, H, W] with labels y [B].

    >>> el2n(nn.Identity(), torch.tensor([[0.0, 0.0], [9.0, -9.0]]), torch.tensor([0, 0])).round(decimals=3)
    tensor([0.7070, 0.0000])
    """
    with torch.no_grad():
        p = net(x).softmax(dim=1)
    p[torch.arange(len(y)), y] -= 1
    return p.norm(dim=1)
