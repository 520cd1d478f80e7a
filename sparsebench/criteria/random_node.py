"""Random node: units chosen uniformly at random, for whom nobody searched; the control of ``random_search``.

    score_i ~ U(0, 1)        the first draw of the generator that random_search goes on drawing from

With ``samples=1`` the two are one: same masks, same initial weights, same data order. The loss of the untrained
sub-network is measured as in the search and decides nothing. Same masks as ``random_filter@init``, which measures none.
Source: Farahani 2024, arXiv:2403.08265.
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
    paper="2403.08265",
)
def random_node(rows: Tensor, generator: Generator) -> Tensor:
    """>>> random_node(torch.ones(3, 2), torch.Generator().manual_seed(0)).shape
    torch.Size([3])
    """
    return torch.rand(len(rows), generator=generator).to(rows.device)


@solver(name="random_node")
def first_draw(budget: UnitBudget) -> Searched:
    return search(budget, samples=1)
