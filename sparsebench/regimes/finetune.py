"""Fine-tune: train, prune in one shot, train a little more at a small constant learning rate.

    w_T = train(w_0),   m = prune(w_T, s),   w = train(m * w_T)        epochs * T more epochs, rate * peak rate

Source: Han et al. 2015, arXiv:1506.02626.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Phase, Prune, Scorer, Train
from sparsebench.registry import regime


@regime
def finetune(scorer: Scorer, sparsity: float, *, epochs: float = 0.25, rate: float = 0.1) -> Iterator[Phase]:
    yield Train()
    yield Prune(sparsity, scorer)
    yield Train(epochs=epochs, rate=rate)
