"""Dense: train once, prune nothing. The reference of every other row.

w = train(w_0)        w_0: initial weights of the seed, T epochs as the task says
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Phase, Train
from sparsebench.registry import regime


@regime(criterion="none")
def dense(scorer: None, sparsity: float) -> Iterator[Phase]:
    yield Train()
