"""Top-KAST: always sparse; a dense latent copy decides by magnitude which weights the network has.

    forward: top d by |w|        updated: top d + extra        decay outside the forward set: 1/d times as strong

Every layer has the same density, as published. Source: Jayakumar et al. 2020, arXiv:2106.03517.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Latent, Phase, Train
from sparsebench.registry import regime


@regime(criterion="none", scoring="magnitude of the latent weights")
def topkast(
    scorer: None,
    sparsity: float,
    *,
    extra: float = 0.1,
    decay: float | None = None,
    every: int | None = None,
    allocation: str = "uniform",
) -> Iterator[Phase]:
    yield Train(pruner=Latent("topkast", sparsity, allocation, every, {"extra": extra, "decay": decay}))
