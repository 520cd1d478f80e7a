"""GMP: gradual pruning during one training, along the cubic schedule.

    s_t = s (1 - (1 - (t - begin) / (end - begin))^3)

Source: Zhu & Gupta 2017, arXiv:1710.01878.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Gradual, Phase, Scorer, Train
from sparsebench.registry import regime


@regime(single_round=True)
def gmp(
    scorer: Scorer, sparsity: float, *, begin: float = 0.1, end: float = 0.75, every: int | None = None
) -> Iterator[Phase]:
    yield Train(pruner=Gradual(scorer, sparsity, begin, end, every))
