"""Movement: keep the weights that training moves away from zero.

    score = - sum over steps t of w_t * g_t        g_t the gradient at step t

Under ``@ramp`` and ``@gmp`` the steps are those of the training itself, on the masked network, and masked weights
may return (``LatentSparsity``); ``rate`` has no part in that. Elsewhere they are plain gradient descent on the
weights in scope, one step a batch, each gradient averaged over ranks; the network itself is not changed.
Ranked within a tensor, as published. Meant for fine-tuning. Source: Sanh et al. 2020, arXiv:2005.07683.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparsebench.registry import criterion
from sparsebench.scoring import gradients, mean_over_examples
from sparsebench.soft import movement_increment


@criterion(
    regime="ramp",
    needs="model",
    mode="eval",
    examples=2048,
    accumulates=True,
    allocation="uniform",
    allocations=("uniform", "uniform+", "erk", "igq", "row", "global"),
    paper="2005.07683",
)
def movement(
    model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Callable, *, rate: float = 0.01
) -> dict[str, Tensor]:
    weights = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    total = {name: torch.zeros_like(w) for name, w in weights.items()}

    def moved(*inputs: Any, **options: Any) -> Any:
        return functional_call(model, weights, inputs, options)

    for batch in batches:
        grads = mean_over_examples(lambda part: gradients(loss(moved, part), weights), [batch])
        with torch.no_grad():
            for name, grad in zip(weights, grads, strict=True):
                total[name] += movement_increment(weights[name], grad)
                weights[name] -= rate * grad
    return total
