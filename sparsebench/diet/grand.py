"""GraNd: how strongly one image pulls at the weights.

    GraNd(x, y) = || grad_w CE(f(x; w), y) ||_2        all trainable parameters, averaged over networks

For cross-entropy the gradient is sum_k (p_k - y_k) grad_w f_k(x): with logits whose gradients are orthogonal and of
one size, GraNd is proportional to EL2N. Of a fully connected network at initialisation it grows with the norm of the
input, since GraNd^2 = sum over layers of ||delta||^2 (||input||^2 + 1).

Source: Paul et al., NeurIPS 2021, arXiv:2107.07075; at initialisation no better than chance: arXiv:2303.14753.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsebench.per_example import per_example_gradients
from sparsebench.registry import example_score
from sparsebench.scoring import cross_entropy


@example_score(of="network", paper="2107.07075")
def grand(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """How strongly images pull at the weights: scores [B] of images x [B, C, H, W] with labels y [B].

    >>> net = nn.Linear(1, 2, bias=False)
    >>> _ = nn.init.zeros_(net.weight)  # predicts one half each: the gradient of the logits is (-1/2, 1/2)
    >>> grand(net, torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0])).round(decimals=3)
    tensor([1.4140, 2.8280])
    """
    params = {name: p for name, p in net.named_parameters() if p.requires_grad}
    chunks = per_example_gradients(net, params, [(x, y)], cross_entropy)
    squares = [sum(g.flatten(1).square().sum(1) for g in chunk.values()) for chunk in chunks]
    return torch.cat(squares).sqrt()
