"""Fisher: second-order change of the loss if a weight were removed, by the diagonal of the Fisher matrix.

    score = 1/2 F_qq w_q^2        F_qq = mean over examples of (dL_n/dw_q)^2, L_n the loss of one example

The gradient of every example is squared on its own; the squared gradient of a batch is another, smaller number.
Memory: that of a chunk of ``sparsebench.per_example`` and six numbers a weight.
Source: Theis et al. 2018, arXiv:1801.05787 (eq. 6); the trade for the Hessian of LeCun et al. 1989.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from sparsebench.per_example import mean_squared_gradients
from sparsebench.registry import criterion


@criterion(needs="model", mode="eval", examples=1024, second_order=True, paper="1801.05787")
def fisher(model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Callable) -> dict[str, Tensor]:
    squares = mean_squared_gradients(model, params, batches, loss)
    return {name: s * w.detach().square() / 2 for (name, w), s in zip(params.items(), squares, strict=True)}
