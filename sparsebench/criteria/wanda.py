"""Wanda: magnitude times the norm of the input, compared within each output row.

    score_ij = |W_ij| * ||X_j||_2        X_j: input feature j over all calibration tokens

Pruned layer after layer, the inputs from the layers already pruned; the weights kept stay as they are. Convolutions
by unfolding. Source: Sun et al. 2024, arXiv:2306.11695 (eq. 1; linear layers only there).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sparsebench.budget import Budget
from sparsebench.calibration import feature_norms
from sparsebench.layerwise import blocks, layer_by_layer
from sparsebench.masks import Masks
from sparsebench.registry import criterion, solver


@criterion(
    regime="oneshot", needs="model", mode="eval", examples=1024, allocation="row", dtype="float64", paper="2306.11695"
)
def wanda(model: nn.Module, params: dict[str, Tensor], batches: list, loss: Callable) -> dict[str, Tensor]:
    norms = feature_norms(model, params, batches, loss)
    return {name: weighted(p.detach(), norms[name]).to(p.dtype) for name, p in params.items()}


@solver(name="wanda")
def solve(
    model: nn.Module, params: dict[str, Tensor], batches: list, loss: Callable, budget: Budget
) -> tuple[Masks, dict[str, Tensor]]:
    def prune_layer(name: str, weight: Tensor, norms: Tensor, like: Masks) -> tuple[Tensor, Tensor]:
        return budget.again(name, weighted(weight, norms), like), weight

    return layer_by_layer(
        model,
        params,
        batches,
        loss,
        budget,
        statistic=feature_norms,
        scores=lambda: wanda(model, params, batches, loss),
        prune_layer=prune_layer,
    )


def weighted(weight: Tensor, norms: Tensor) -> Tensor:
    """``|W_ij| * ||X_j||``, float64, in the weight's shape; norms ``[groups, columns]``.

    >>> from torch import tensor
    >>> weighted(tensor([[1.0, -3.0]]), tensor([[8.0, 2.0]]))
    tensor([[8., 6.]], dtype=torch.float64)
    """
    return (blocks(weight.double().abs(), len(norms)) * norms[:, None]).view(weight.shape)
