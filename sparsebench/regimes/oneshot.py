"""One shot: prune the trained network on calibration images, nothing is trained afterwards.

    w_T = train(w_0),   m = prune(w_T, s),   w = m * w_T        a solver may also change the weights it keeps

Batch-norm statistics are estimated anew on training images (a network without batch norm is left alone), since
pruning moves the activations they describe. Sources: SparseGPT, Frantar & Alistarh 2023, arXiv:2301.00774;
re-estimation: Frantar et al. 2022, arXiv:2208.11580.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Phase, Prune, Recalibrate, Scorer, Train
from sparsebench.registry import regime


@regime
def oneshot(scorer: Scorer, sparsity: float, *, recalibrate: int = 1024) -> Iterator[Phase]:
    yield Train()
    yield Prune(sparsity, scorer)
    yield Recalibrate(recalibrate)
