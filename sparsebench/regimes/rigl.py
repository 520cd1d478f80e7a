"""RigL: sparse training in which dropped weights return where the dense gradient is largest.

    replaced share of a layer: f(t) = (alpha / 2) (1 + cos(pi t / (end T)))

Random ERK masks at the start. Source: Evci et al. 2020, arXiv:1911.11134.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Dynamic, Phase, Train
from sparsebench.registry import regime


@regime(criterion="none", scoring="gradient of the training batch, mean over processes, then its absolute value")
def rigl(
    scorer: None,
    sparsity: float,
    *,
    alpha: float = 0.3,
    end: float = 0.75,
    every: int | None = None,
    allocation: str = "erk",
) -> Iterator[Phase]:
    yield Train(pruner=Dynamic("rigl", sparsity, allocation, every, alpha, end))
