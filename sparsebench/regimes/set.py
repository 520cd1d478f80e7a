"""SET: sparse training in which the smallest weights are dropped and as many grown at random.

    kept weights of a layer that move at an update: zeta, up to the share end of the training

Random ERK masks at the start. Source: Mocanu et al. 2018, arXiv:1707.04780.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Dynamic, Phase, Train
from sparsebench.registry import regime


@regime(name="set", criterion="none", scoring="random growth")
def sparse_evolutionary(
    scorer: None,
    sparsity: float,
    *,
    zeta: float = 0.3,
    end: float = 1.0,
    every: int | None = None,
    allocation: str = "erk",
) -> Iterator[Phase]:
    yield Train(pruner=Dynamic("set", sparsity, allocation, every, zeta, end))
