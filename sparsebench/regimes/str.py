"""STR: soft thresholds, one learned for each layer, along the cubic schedule.

    w_eff = sign(w) relu(|w| - sigmoid(s_l + c))

STR does not set its sparsity; the common shift c does, solved anew at every update so that exactly as many weights
survive as the schedule asks. How they spread over the layers is learned. Source: Kusupati et al. 2020,
arXiv:2002.03231.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Latent, Phase, Train
from sparsebench.registry import regime


@regime(name="str", criterion="none", scoring="magnitude against learned thresholds")
def soft_threshold_reparametrisation(
    scorer: None, sparsity: float, *, begin: float = 0.0, end: float = 0.75, every: int | None = None
) -> Iterator[Phase]:
    yield Train(pruner=Latent("str", sparsity, "global", every, {"begin": begin, "end": end}))
