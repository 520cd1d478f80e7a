"""Init: prune the untrained network, then train it with static masks.

    m = prune(w_0, s),   w = train(m * w_0)        s: the sparsity asked for, T epochs

Source: SNIP, Lee et al. 2019, arXiv:1810.02340.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Phase, Prune, Scorer, Train
from sparsebench.registry import regime


@regime
def init(scorer: Scorer, sparsity: float) -> Iterator[Phase]:
    yield Prune(sparsity, scorer)
    yield Train()
