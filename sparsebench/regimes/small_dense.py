"""Small-dense: a narrower dense network of the same kind, as large as the sparse one, a control.

    width = the largest with  size(width) <= density * size(full width)

``match="params"``: the widest network with at most ``round(density * prunable)`` prunable weights;
``match="flops"``: with at most ``density`` of the multiply-accumulates. What sparsity must beat.
Source: Evci et al. 2020, arXiv:1911.11134 ("Small-Dense").
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsebench.phases import Narrow, Phase, Train
from sparsebench.registry import regime


@regime(criterion="none", count="the widest network with at most the share asked for")
def small_dense(scorer: None, sparsity: float, *, match: str = "params") -> Iterator[Phase]:
    yield Narrow(sparsity, match)
    yield Train()
