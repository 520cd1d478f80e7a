"""IMP: iterative pruning with weight rewinding (the lottery ticket procedure).

    density after round k: (1 - rate)^k, the last one exactly as asked        w = train(m_k * w_rewind), k = 1, 2, ...

Each round removes ``rate`` of the remaining weights, puts everything back to the state after ``rewind`` of
the dense training (0 = initialisation) and trains to the end of the schedule.
Sources: Frankle & Carbin 2019, arXiv:1803.03635; rewinding: Frankle et al. 2020, arXiv:1912.05671.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Phase, Prune, Rewind, Scorer, Train, ladder
from sparsebench.registry import regime


@regime
def imp(scorer: Scorer, sparsity: float, *, rate: float = 0.2, rewind: float = 0.0) -> Iterator[Phase]:
    yield Train()
    for level in ladder(sparsity, rate):
        yield Prune(level, scorer)
        yield Rewind(rewind)
        yield Train()
