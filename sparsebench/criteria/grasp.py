"""GraSP: keep the weights whose removal would weaken the gradient flow.

    score = w * (H g)        signed; g gradient, H Hessian of the loss at temperature 200

Removing the smallest scores lowers the squared gradient norm least. H g comes from differentiating
``sum(g_stop * g)``; with several batches or ranks g_stop is the mean over all of them.
The temperature divides what ``model(...)`` returns.
Source: Wang et al. 2020, arXiv:2002.07376 (eq. 8; the released code keeps the largest ``w * Hg``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sparsebench.registry import criterion
from sparsebench.scoring import gradients, mean_gradients, mean_over_examples


@criterion(regime="init", needs="model", mode="train", per_class=10, paper="2002.07376")
def grasp(
    model: nn.Module,
    params: dict[str, Tensor],
    batches: Iterable,
    loss: Callable,
    *,
    temperature: float = 200.0,
) -> dict[str, Tensor]:
    batches = list(batches)
    weights = list(params.values())

    def hessian_vector(batch) -> list[Tensor]:
        g = gradients(loss(model, batch), params, create_graph=True)
        flow = sum((s * d).sum() for s, d in zip(g_stop.values(), g, strict=True))
        return torch.autograd.grad(flow, weights, materialize_grads=True)

    cooling = model.register_forward_hook(lambda module, inputs, logits: logits / temperature)
    try:
        # Of the attention kernels only the plain one can be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH):
            g_stop = mean_gradients(model, params, batches, loss)
            products = mean_over_examples(hessian_vector, batches)
    finally:
        cooling.remove()
    return {name: w.detach() * hg for (name, w), hg in zip(params.items(), products, strict=True)}
