"""Latent upkeep: dense weights behind the masked parameters, which the optimiser changes in their place.

Between steps a parameter holds the effective weight, pruned entries exactly 0. A step goes so:

    mask_gradients    before clipping: gradients by the effective weights become those by the latent ones,
                      and the latent weights take the effective ones' place
    optimizer.step    with its weight decay, momentum and moments
    mask_weights      after it: the latent weights go back here, the effective ones into the network

``forward`` masks the weights the network has, ``trained`` those that the optimiser may change; entries outside it
are 0 for the optimiser, moments included, and keep their latent value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsebench.callbacks.schedules import Cubic
from sparsebench.callbacks.upkeep import Upkeep
from sparsebench.masks import Masks


class LatentUpkeep:
    """Keeps latent weights behind masked parameters; takes the place of ``Upkeep`` in a ``Pruner``.

    Args:
        params: the model's parameters by name.
        masks: forward masks; of the tensors they name latent weights are kept.
        state: what ``state_dict`` gave; default: the present weights are the latent ones.
        allocation: how new masks spread over the tensors.
    """

    allocation: ClassVar[str] = "uniform"
    defaults: ClassVar[dict[str, Any]] = {"begin": 0.0, "end": 0.75}
    every_step: ClassVar[bool] = False
    """Whether masks are chosen after every step, not only at the updates of the plan."""

    def __init__(self, params: Mapping[str, nn.Parameter], masks: Masks, state: dict | None, allocation: str):
        self.params = {n: params[n] for n in masks}
        # Before anything is masked: what is 0 in the network is alive here.
        self.latent = self._like_weights(state["latent"] if state else self.params)
        self.allocation = allocation
        self._masks = masks
        self.forward = self.trained = Upkeep(params, masks)
        self._optimizers: list[Optimizer] = []
        self._handles: list = []
        self._in_step = False

    @staticmethod
    def plan(steps: int, sparsity: float, every: int, begin: float, end: float, **_: Any) -> dict[int, float]:
        """The cubic ramp, then updates at constant sparsity; none after the last step, which would not be trained."""
        ramp = Cubic(begin, end, every).plan(steps, sparsity)
        return ramp | dict.fromkeys(range(max(ramp) + every, steps, every), sparsity)

    def next_masks(self, sparsity: float) -> Masks:
        """Forward masks of exactly ``round((1 - sparsity) total)`` weights, from the latent weights."""
        raise NotImplementedError

    def change(self, masks: Masks) -> None:
        """Take new forward masks; ``mask_weights`` then shows the weights that return."""
        self._masks = masks
        self.forward.change(masks)

    def attach(self, optimizers: Iterable[Optimizer]) -> None:
        self._optimizers = list(optimizers)
        self._handles = [o.register_step_post_hook(lambda *_: self.mask_weights()) for o in self._optimizers]

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def mask_gradients(self) -> None:
        self._before_step()
        self.trained.mask_gradients()
        torch._foreach_copy_(list(self.params.values()), list(self.latent.values()))
        self.trained.mask_weights()
        self._in_step = True

    @torch.no_grad()
    def mask_weights(self) -> None:
        if self._in_step:
            # Exact at both ends: 0 keeps the latent weight, 1 takes what the optimiser made of it.
            factors = [self.trained._factors[n] for n in self.latent]
            torch._foreach_lerp_(list(self.latent.values()), list(self.params.values()), factors)
            self._in_step = False
            self._after_step()
        self._show()
        self.forward.mask_weights()

    def put_back(self) -> None:
        """Leave a step that the optimiser did not take (mixed precision skips some)."""
        if self._in_step:
            self._in_step = False
            self.mask_weights()

    def clear_nonfinite_gradients(self) -> None:
        for name in self._stepping():
            self.params[name].grad.nan_to_num_(0.0, 0.0, 0.0)

    def mask_optimizer_state(self, optimizers: Iterable[Optimizer]) -> None:
        self.trained.mask_optimizer_state(optimizers)

    def undisturbed(self, optimizers: Iterable[Optimizer]) -> bool:
        return self.forward.undisturbed(()) and self.trained.undisturbed(optimizers)

    def clear_nonfinite(self, optimizers: Iterable[Optimizer]) -> None:
        self.forward.clear_nonfinite(())
        self.trained.clear_nonfinite(optimizers)

    def leaks(self, optimizers: Iterable[Optimizer]) -> int:
        """Pruned weights, and moments outside the trained set, that are not exactly 0."""
        moments = self.trained.leaks(optimizers) - self.trained.leaks()
        return self.forward.leaks() + moments

    def freeze(self, optimizers: Iterable[Optimizer]) -> None:
        """The end: the effective weights are the weights, and the optimiser knows no others."""
        self.forward.change(self._masks)
        self.forward.mask_optimizer_state(optimizers)

    def state_dict(self) -> dict[str, Any]:
        return {"latent": stored(self.latent)}

    def _before_step(self) -> None:
        """Read the gradients by the effective weights, and turn them where masking is not all."""

    def _after_step(self) -> None:
        """What else is updated by this step."""

    def _show(self) -> None:
        """Put the effective weights into the network; pruned entries are masked afterwards."""
        torch._foreach_copy_(list(self.params.values()), list(self.latent.values()))

    def _like_weights(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies in the memory layout of the weights, which fused operations need."""
        return {n: torch.empty_like(w, requires_grad=False).copy_(values[n].detach()) for n, w in self.params.items()}

    def _stepping(self) -> list[str]:
        return [n for n, w in self.params.items() if w.grad is not None]

    def _groups(self) -> dict[str, tuple[Optimizer, dict[str, Any]]]:
        """The optimiser of each weight and its settings there."""
        owner = {id(p): (o, g) for o in self._optimizers for g in o.param_groups for p in g["params"]}
        return {n: owner[id(w)] for n, w in self.params.items() if id(w) in owner}


def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: t.to("cpu", copy=True) for n, t in tensors.items()}
