"""Dense: train once, prune nothing. The reference of every other row."""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Phase, Train
from sparsebench.registry import regime


@regime(criterion="none")
def dense(scorer: None, sparsity: float) -> Iterator[Phase]:
    yield Train()
