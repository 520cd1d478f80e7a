"""Random: a fresh draw for every seed of a board, the baseline that every score has to beat.

The draws of one seed are nested: what is kept at 30 % is kept at 50 %.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsebench.registry import example_score


@example_score(of="seed")
def random(n: int, generator: torch.Generator) -> Tensor:
    """A fresh draw for every seed, the baseline: scores [n].

    >>> random(3, torch.Generator().manual_seed(0)).sort().values
    tensor([0., 1., 2.])
    """
    return torch.randperm(n, generator=generator).float()
