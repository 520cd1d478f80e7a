"""Upkeep: pruned weights stay exactly 0, at one fused multiply over gradients and one over weights a step.

Gradients are masked before any norm or clipping sees them; weights are masked by a hook that runs after
every ``optimizer.step``, so that momentum, weight decay, Adam's moments, manual optimisation and several
steps within one ``training_step`` cannot revive a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsebench.masks import Masks


class Upkeep:
    """Keeps the masked parameters of a model masked while optimisers change them."""

    def __init__(self, params: dict[str, nn.Parameter], masks: Masks):
        self._weights = [params[name] for name in masks]
        self._factors = [masks[name].to(w.device, w.dtype) for name, w in zip(masks, self._weights, strict=True)]
        self._handles: list = []

    def attach(self, optimizers: Iterable[Optimizer], after_step: Callable[[], None] | None = None) -> None:
        """Mask the weights after every step of these optimisers."""

        def hook(*_):
            self.mask_weights()
            if after_step:
                after_step()

        self._handles = [optimizer.register_step_post_hook(hook) for optimizer in optimizers]

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def change(self, masks: Masks) -> None:
        """Take new masks, in place."""
        for factor, mask in zip(self._factors, masks.values(), strict=True):
            factor.copy_(mask)

    @torch.no_grad()
    def mask_gradients(self) -> None:
        pairs = [(w.grad, f) for w, f in zip(self._weights, self._factors, strict=True) if w.grad is not None]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])

    @torch.no_grad()
    def mask_weights(self) -> None:
        torch._foreach_mul_(self._weights, self._factors)

    @torch.no_grad()
    def mask_optimizer_state(self, optimizers: Iterable[Optimizer], keep: Iterable[Tensor] | None = None) -> None:
        """Zero momentum and moments of pruned entries (or of all outside ``keep``: weights just grown start fresh)."""
        factors = self._factors if keep is None else [k.to(f.dtype) for k, f in zip(keep, self._factors, strict=True)]
        for optimizer in optimizers:
            for weight, factor in zip(self._weights, factors, strict=True):
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        value.mul_(factor.to(value.dtype))

    def leaks(self, optimizers: Iterable[Optimizer] = ()) -> int:
        """How many pruned entries of weights and optimiser state are not exactly 0."""
        found = sum(((w != 0) & (f == 0)).sum() for w, f in zip(self._weights, self._factors, strict=True))
        for optimizer in optimizers:
            for weight, factor in zip(self._weights, self._factors, strict=True):
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        found = found + ((value != 0) & (factor == 0)).sum()
        return int(found)
