"""SynFlow: iterative synaptic flow, data-free.

    R = sum of outputs of the network with all parameters replaced by |.| on one input of ones
    score = |w * dR/dw|        100 rounds, density d^(k/100) after round k

The batches give only the shape of the input. Evaluation mode, float64: in float32 the flow of a deep
network overflows. Source: Tanaka et al. 2020, arXiv:2006.05467 (Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparsebench.registry import criterion
from sparsebench.scoring import refuse_unused


@criterion(regime="init", needs="model", mode="eval", per_class=1, rounds=100, dtype="float64", paper="2006.05467")
def synflow(model: nn.Module, params: dict[str, Tensor], batches: Iterable, loss: Callable) -> dict[str, Tensor]:
    state = {n: _linear(t) for n, t in [*model.named_parameters(), *model.named_buffers()]}
    flow = {name: state[name].requires_grad_() for name in params}
    first = next(iter(batches))
    x = first[0] if isinstance(first, list | tuple) else first
    total = functional_call(model, state, (torch.ones_like(x[:1], dtype=torch.float64),)).sum()
    unused = set(flow)
    for name, w in flow.items():
        w.register_post_accumulate_grad_hook(partial(_score_in_place, unused, name))
    total.backward()
    refuse_unused([name for name in flow if name in unused])
    return {name: w.detach() for name, w in flow.items()}


def _score_in_place(unused: set[str], name: str, weight: Tensor) -> None:
    """A copy of a weight becomes its score once its last use in the backward pass is over: one copy, not three."""
    weight.data.mul_(weight.grad).abs_()
    weight.grad = None
    unused.discard(name)


def _linear(tensor: Tensor) -> Tensor:
    return tensor.detach().double().abs() if tensor.is_floating_point() else tensor.detach().clone()
