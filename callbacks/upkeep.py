"""Upkeep: pruned weights stay exactly 0, at one fused multiply over gradients and at most one over weights a step.

Gradients are masked before any norm or clipping sees them; weights are masked by a hook that runs after
every ``optimizer.step``, so that momentum, weight decay, Adam's moments, manual optimisation and several
steps within one ``training_step`` cannot revive a weight. ``attach`` spares it where it has nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsebench.masks import Masks

LEAVE_ZERO = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
"""Their step goes entry by entry: where weight, gradient, momentum and moments are 0, the weight stays 0."""


class Upkeep:
    """Keeps the masked parameters of a model masked while optimisers change them."""

    def __init__(self, params: Mapping[str, nn.Parameter], masks: Masks):
        self._weights = {name: params[name] for name in masks}
        # Of the weight's dtype, device and memory layout: the fused multiply needs them equal.
        self._factors = {name: torch.empty_like(w, requires_grad=False) for name, w in self._weights.items()}
        # In one order, for the fused operations of every step.
        self._all = list(self._weights.values()), list(self._factors.values())
        self._handles: list = []
        self.change(masks)

    def attach(self, optimizers: Iterable[Optimizer], *, gradients_are_masked: bool = False) -> None:
        """Mask the weights after every step of these optimisers.

        Where ``mask_gradients`` precedes every step, an optimiser of ``LEAVE_ZERO`` (no subclass) needs no such hook.
        """
        hooked = [o for o in optimizers if not (gradients_are_masked and type(o) in LEAVE_ZERO)]
        self._handles = [o.register_step_post_hook(lambda *_: self.mask_weights()) for o in hooked]

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def change(self, masks: Masks) -> None:
        """Take new masks, in place."""
        for name, factor in self._factors.items():
            factor.copy_(masks[name])
            # The product of a negative weight and 0 is -0.0; a resumed run would begin with 0.0.
            self._weights[name].detach().masked_fill_(factor == 0, 0.0)

    def mask_gradients(self) -> None:
        # Without no_grad: gradients require none themselves, and entering it takes half as long as all of this.
        weights, factors = self._all
        grads = [w.grad for w in weights]
        if any(grad is None for grad in grads):
            factors = [factor for factor, grad in zip(factors, grads, strict=True) if grad is not None]
            grads = [grad for grad in grads if grad is not None]
        if grads:
            torch._foreach_mul_(grads, factors)

    @torch.no_grad()
    def mask_weights(self) -> None:
        torch._foreach_mul_(*self._all)

    @torch.no_grad()
    def mask_optimizer_state(self, optimizers: Iterable[Optimizer]) -> None:
        """Zero momentum and moments of pruned entries, so that a weight grown later starts fresh."""
        for name, value in self._moments(optimizers):
            value.mul_(self._factors[name].to(value.device, value.dtype))

    @torch.no_grad()
    def undisturbed(self, optimizers: Iterable[Optimizer]) -> bool:
        """Whether every pruned entry of weights and optimiser state is 0 and every kept one finite."""
        pairs = [*zip(*self._all, strict=True), *((v, self._factors[n]) for n, v in self._moments(optimizers))]
        values, factors = [v for v, _ in pairs], [f for _, f in pairs]
        # v - v * factor: what is pruned and not 0, NaN where something is not finite, 0 elsewhere.
        stray = torch._foreach_addcmul(values, values, factors, -1)
        torch._foreach_abs_(stray)
        # Read from the device once; the largest is found in half the time of a count, and is NaN where there is one.
        return not bool(torch.stack(torch._foreach_max(stray)).amax())

    @torch.no_grad()
    def clear_nonfinite(self, optimizers: Iterable[Optimizer]) -> None:
        """Put exact zeros where a diverged training left NaN or infinity, which times 0 is NaN."""
        for name, value in [*self._weights.items(), *self._moments(optimizers)]:
            value.masked_fill_((self._factors[name] == 0) & ~torch.isfinite(value), 0.0)

    def leaks(self, optimizers: Iterable[Optimizer] = ()) -> int:
        """How many pruned entries of weights and optimiser state are not exactly 0."""
        tensors = [*self._weights.items(), *self._moments(optimizers)]
        return int(sum(((value != 0) & (self._factors[name] == 0)).sum() for name, value in tensors))

    def _moments(self, optimizers: Iterable[Optimizer]) -> Iterator[tuple[str, Tensor]]:
        """The tensors of a weight's shape in the optimisers' state, by the weight's name."""
        for optimizer in optimizers:
            for name, weight in self._weights.items():
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        yield name, value
