"""Random: uniform scores from a seeded generator, the baseline every method must beat.

    score ~ U(0, 1)        i.i.d., same numbers on every device and rank

Source: Liu et al. 2022, arXiv:2202.02643 (strong with ERK densities on wide networks).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sparsebench.registry import criterion


@criterion(regime="init", needs="random", paper="2202.02643")
def random(weight: Tensor, generator: Generator) -> Tensor:
    """>>> random(torch.ones(2, 2), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 2])
    """
    return torch.rand(weight.shape, generator=generator).to(weight.device)
