"""Differentiation: the gradients of single examples, in the fastest of three ways that a network allows.

========== ================================================ ==============================================
by layer   large weights on a CPU                           see ``by_layer``
together   any network that vmap can run                    ``torch.func.vmap`` of ``grad``, all at once
one by one any network                                      a backward pass an example
========== ================================================ ==============================================
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from sparsebench import by_layer
from sparsebench.by_layer import Take
from sparsebench.errors import UsageError
from sparsebench.scoring import Loss, gradients

LARGE = 2**20
"""Numbers in an example's gradient from which a CPU works layer by layer: on smaller networks vmap is faster."""


class Differentiation:
    """Hands on the gradients of one batch after the other, in the fastest way that the network allows."""

    def __init__(self, model: nn.Module, params: dict[str, Tensor], loss: Loss, chunk: int, of_layers: int):
        self.model, self.params, self.loss = model, params, loss
        self.objective = _Objective(model, loss)
        self.ways = [(of_layers, self._by_layer), (chunk, self._together), (chunk, self._one_by_one)]
        if not _large_on_cpu(params):
            del self.ways[0]
        self.silent = set(params)
        """Parameters without a gradient so far, until the first chunk is done."""
        self.handed = False
        """Whether gradients of the chunk at work have been handed on."""

    def __call__(self, batch: Any, take: Take) -> Iterator[int]:
        """``take`` every gradient, chunk by chunk; yields the number of examples of each."""
        join, examples = split(batch)
        done = 0
        while done < len(examples[0]):
            chunk, way = self.ways[0]
            part = [e[done : done + chunk] for e in examples]
            self.handed = False
            try:
                way(join, part, partial(self._hand, take))
            except torch.OutOfMemoryError:
                raise
            except by_layer.Unfit:
                del self.ways[0]
                continue
            except RuntimeError as error:
                self._give_up(error, join([e[0] for e in examples]))
                continue
            if self.silent:
                # Not every way tells a weight that the loss does not depend on from one whose gradient is 0.
                gradients(self.loss(self.model, join([e[0] for e in examples])), self.params)
                self.silent.clear()
            done += len(part[0])
            yield len(part[0])

    def _hand(self, take: Take, name: str, grads: Tensor) -> None:
        self.handed = True
        if name in self.silent and grads.any():
            self.silent.discard(name)
        take(name, grads)

    def _give_up(self, error: RuntimeError, alone: Any) -> None:
        """Another way next time; an error of the loss itself shows here, where it is not taken for a limit of vmap."""
        if self.handed:
            raise error  # another way would hand the same gradients on twice
        gradients(self.loss(self.model, alone), self.params)
        if len(self.ways) == 1:
            raise error
        del self.ways[0]
        if len(self.ways) == 1:
            reason = str(error).split(". ")[0]
            warnings.warn(f"one example at a time, since vmap cannot run this network: {reason}", stacklevel=4)

    def _by_layer(self, join: Callable, part: list[Tensor], take: Take) -> None:
        by_layer.differentiate(self.objective, self.params, join, part, take)

    def _together(self, join: Callable, part: list[Tensor], take: Take) -> None:
        values = {name: p.detach() for name, p in self.params.items()}

        def of_one(values: dict[str, Tensor], example: list[Tensor]) -> Tensor:
            state = {f"model.{name}": value for name, value in values.items()}
            return functional_call(self.objective, state, (join(example),))

        # Of the attention kernels only the plain one can be vectorised. No graph: biases still ask for gradients.
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            grads = vmap(grad(of_one), in_dims=(None, 0), randomness="same")(values, part)
        for name in self.params:
            take(name, grads.pop(name))

    def _one_by_one(self, join: Callable, part: list[Tensor], take: Take) -> None:
        for i in range(len(part[0])):
            each = gradients(self.loss(self.model, join([e[i] for e in part])), self.params)
            for name, grads in zip(self.params, each, strict=True):
                take(name, grads[None])


class _Objective(nn.Module):
    """``loss(model, batch)`` as one module, so that any way a loss may use the model sees the given weights."""

    def __init__(self, model: nn.Module, loss: Loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)


def _large_on_cpu(params: dict[str, Tensor]) -> bool:
    on_cpu = all(p.device.type == "cpu" for p in params.values()) and not torch.is_autocast_enabled("cpu")
    return on_cpu and sum(p.numel() for p in params.values()) >= LARGE


def split(batch: Any) -> tuple[Callable[[list[Tensor]], Any], list[Tensor]]:
    """A batch as its tensors over examples, and the function that makes one example a batch of one again."""
    leaves, structure = tree_flatten(batch)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim]
    if not tensors:
        raise UsageError(f"a batch is a {type(batch).__name__} without tensors: there are no examples to tell apart")
    own = [i for i, v in enumerate(leaves) if isinstance(v, Tensor) and v.ndim and len(v) == len(tensors[0])]

    def join(example: list[Tensor]) -> Any:
        whole = list(leaves)
        for i, value in zip(own, example, strict=True):
            whole[i] = value[None]
        return tree_unflatten(whole, structure)

    return join, [leaves[i] for i in own]
