"""Ramp: train, then fine-tune at a small constant rate while the sparsity rises along the cubic schedule.

    s_t = s (1 - (1 - (t - begin) / (end - begin))^3)        t: share of the fine-tuning, epochs * T at rate * peak rate

What gradual pruning is to training from scratch this is to fine-tuning. The training before is the dense row's.
Source: Sanh et al. 2020, arXiv:2005.07683 (with movement as criterion); schedule: Zhu & Gupta 2017, arXiv:1710.01878.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Gradual, Phase, Scorer, Train
from sparsebench.registry import regime


@regime(single_round=True)
def ramp(
    scorer: Scorer,
    sparsity: float,
    *,
    epochs: float = 0.5,
    rate: float = 0.1,
    begin: float = 0.0,
    end: float = 0.7,
    every: int | None = None,
) -> Iterator[Phase]:
    yield Train()
    yield Train(epochs=epochs, rate=rate, pruner=Gradual(scorer, sparsity, begin, end, every))
