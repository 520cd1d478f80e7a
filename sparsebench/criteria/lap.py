"""LAP (lookahead pruning): how much the product of three neighbouring layers changes if a weight is removed.

    score(j -> i) = w^2 * (squares of the weights into j) * (squares of the weights out of i)

Squares are summed over all weights of the layer before and of the layer after, and over kernel positions; they carry
the squared factor ``gamma^2 / (var + eps)`` of the batch norm that follows the layer before and of the one that follows
this layer. An end of the network counts 1, and so does what is no chain of layers (attention, layer norm, embeddings):
there LAP ranks as magnitude does. Branches of a sum add up; an identity skip adds 1. See ``sparsebench/wiring.py``.

The paper prunes each layer by a rate of its own. For one global ranking every score is divided by its layer's mean,
which leaves the order within a layer as it is; pruned weights count in the mean, so what is left of a much pruned
layer ranks high. Data give only one input for a forward pass. Float64 inside and in the result.
Source: Park et al. 2020, arXiv:2002.04809.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sparsebench.registry import criterion
from sparsebench.wiring import Use, uses


@criterion(needs="model", mode="eval", per_class=1, floor=1, dtype="float64", paper="2002.04809")
def lap(model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Callable) -> dict[str, Tensor]:
    batch = _first_example(next(iter(batches)))
    factors: dict[str, Tensor] = {}
    for use in uses(model, lambda: loss(model, batch)):
        if use.name in params:
            # A weight that is used several times changes several products.
            factors[use.name] = factors.get(use.name, 0) + _neighbours(use, params[use.name].dim())
    return {name: lookahead(weight, factors.get(name, 1.0)) for name, weight in params.items()}


def lookahead(weight: Tensor, factor: Tensor | float) -> Tensor:
    """``w^2 * factor`` over its mean; all zeros if every one is zero.

    >>> lookahead(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]))
    tensor([[0.8571, 1.1429]], dtype=torch.float64)
    """
    score = weight.detach().double().square() * factor
    mean = score.mean()
    return torch.where(mean > 0, score / mean, torch.zeros_like(score))


def _neighbours(use: Use, dims: int) -> Tensor:
    """What comes before times what comes after, broadcast as the weight: ``[n_out, n_in / groups, 1, ...]``."""
    table = use.after.view(use.groups, -1, 1) * use.before.view(use.groups, 1, -1)
    table = table.transpose(1, 2) if use.transposed else table
    return table.flatten(0, 1)[(...,) + (None,) * (dims - 2)]


def _first_example(batch: Any) -> Any:
    return tree_map(lambda v: v[:1] if isinstance(v, Tensor) and v.dim() else v, batch)
