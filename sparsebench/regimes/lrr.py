"""LRR: learning-rate rewinding; the weights stay, the full learning-rate schedule starts again.

    density after round k: (1 - rate)^k, the last one exactly as asked        w <- train(m_k * w), k = 1, 2, ...

Source: Renda et al. 2020, arXiv:2003.02389.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Phase, Prune, Scorer, Train, ladder
from sparsebench.registry import regime


@regime
def lrr(scorer: Scorer, sparsity: float, *, rate: float = 0.2) -> Iterator[Phase]:
    yield Train()
    for level in ladder(sparsity, rate):
        yield Prune(level, scorer)
        yield Train()
