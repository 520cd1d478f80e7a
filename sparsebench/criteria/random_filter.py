"""Random filter: uniform scores of units from a seeded generator, the control for structured pruning.

score_i ~ U(0, 1)        i.i.d., same numbers on every device and rank
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sparsebench.registry import criterion


@criterion(
    structure="units",
    needs="random",
    allocation="uniform",
    allocations=("uniform", "global"),
    regime="finetune",
)
def random_filter(rows: Tensor, generator: Generator) -> Tensor:
    """>>> random_filter(torch.ones(3, 2), torch.Generator().manual_seed(0)).shape
    torch.Size([3])
    """
    return torch.rand(len(rows), generator=generator).to(rows.device)
