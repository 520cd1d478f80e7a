"""Random search: of many masks of units drawn at random the one whose untrained sub-network is best.

    m* = the best of m_1, ..., m_samples,   m_k uniform among the masks with the counts that are asked for
    init_loss:   (1/|B|) sum over (x, y) in B of CE(f(x; m theta_0), y)        the smallest
    snip_sum:    sum of |w dL/dw| over the weights of the sub-network, on B    the largest
    synflow_sum: sum of |w dR/dw| over the weights of the sub-network          the largest

B: 2,048 training images (all, if there are fewer), batch norm in training mode by mini-batches of 256, since that is
where training starts. The first draw is ``random_node``'s. Every group of units keeps the same share. ``passes``
sets the number of samples by what they cost: as many as so many forward passes of one image through the whole network
pay for (SNIP costs 300 of them on ten classes, SynFlow 300), for comparisons at equal scoring cost.
Source: Farahani 2024, arXiv:2403.08265. Which statistic ranks the draws, how many there are and whether the share
holds in each layer could not be recovered from the paper: initial loss, 200 and yes are our choice.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sparsebench.registry import criterion, solver
from sparsebench.structured.search import Searched, UnitBudget, search


@criterion(
    structure="units",
    needs="random",
    mode="train",
    examples=2048,
    batch=256,
    allocation="uniform",
    allocations=("uniform", "global"),
    regime="init",
    least={"samples": 1, "passes": 0},
    choices={"objective": ("init_loss", "snip_sum", "synflow_sum")},
    paper="2403.08265",
)
def random_search(
    rows: Tensor, generator: Generator, *, samples: int = 200, passes: int = 0, objective: str = "init_loss"
) -> Tensor:
    """The scores of the first draw: without a sparsity there is nothing to search.

    >>> random_search(torch.ones(3, 2), torch.Generator().manual_seed(0)).shape
    torch.Size([3])
    """
    return torch.rand(len(rows), generator=generator).to(rows.device)


@solver(name="random_search")
def best_draw(budget: UnitBudget, *, samples: int = 200, passes: int = 0, objective: str = "init_loss") -> Searched:
    return search(budget, samples=samples, passes=passes, objective=objective)
