"""Dynamic sparse training: a fixed number of weights that move (SET, RigL)."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import lightning as L
import torch

from sparsebench.callbacks.pruner import Pruner
from sparsebench.errors import UsageError
from sparsebench.growth import rigl_update, set_update
from sparsebench.masks import Masks
from sparsebench.models.several_steps import like_automatic

RULES = ("rigl", "set")


class DynamicSparsity(Pruner):
    """Sparse from the first step; every so many steps some weights are dropped and as many grown.

    Args:
        rule: ``rigl`` grows where the dense gradient is largest, ``set`` at random.
        sparsity: removed fraction, constant throughout.
        allocation: of the random initial masks; ERK as published.
        every: optimiser steps between updates.
        fraction: share of a layer's weights replaced; RigL anneals it to 0 by a cosine, SET keeps it.
        end: fraction of training after which the masks are frozen.

    Weights that stay keep their optimiser state. A grown weight is 0 with fresh optimiser state right after the
    step that grew it; RigL judges it by the gradient of that same step, averaged over ranks (signed) before the
    absolute value.
    Sources: Evci et al. 2020, arXiv:1911.11134; Mocanu et al. 2018, arXiv:1707.04780.
    """

    def __init__(
        self,
        rule: str = "rigl",
        sparsity: float = 0.9,
        *,
        allocation: str = "erk",
        every: int = 100,
        fraction: float = 0.3,
        end: float = 0.75,
        **options: Any,
    ):
        if rule not in RULES:
            raise UsageError(f"unknown rule {rule!r} for dynamic sparsity; known: {', '.join(RULES)}")
        if every < 1 or not 0 <= fraction <= 1 or not 0 <= end <= 1:
            raise UsageError(f"every={every!r} must be at least 1, fraction={fraction!r} and end={end!r} in [0, 1]")
        super().__init__(f"random/{allocation}", sparsity, **options)
        self.rule, self.every, self.fraction, self.end = rule, every, fraction, end
        self._dense_gradients: dict[str, torch.Tensor] = {}

    @property
    def method(self) -> str:
        return f"{self.rule}/{self.allocation}"

    def plan(self, steps: int) -> dict[int, float]:
        """Replaced fraction after each update step; step 0 draws the initial masks."""
        last = round(self.end * steps)
        times = range(self.every, last, self.every)
        anneal = (lambda t: 0.5 * (1 + cos(pi * t / last))) if self.rule == "rigl" else (lambda t: 1.0)
        return {0: 0.0} | {t: self.fraction * anneal(t) for t in times}

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not like_automatic(pl_module):
            self._note_gradients(trainer, pl_module)
        super().on_after_backward(trainer, pl_module)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer) -> None:
        if like_automatic(pl_module):
            self._note_gradients(trainer, pl_module)
        super().on_before_optimizer_step(trainer, pl_module, optimizer)

    def _note_gradients(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the dense gradients for the update that follows this batch, before they are masked."""
        if self.rule == "rigl" and any(self._done < step <= trainer.global_step + 1 for step in self._plan):
            params = dict(self.target(module).named_parameters())
            self._dense_gradients |= {n: params[n].grad.clone() for n in self.masks if params[n].grad is not None}

    def _next_masks(self, trainer: L.Trainer, module: L.LightningModule, sparsity: float) -> Masks:
        if self._done == 0 and not self.history:
            return super()._next_masks(trainer, module, self.sparsity)
        params = dict(self.target(module).named_parameters())
        generator = torch.Generator().manual_seed((self.seed + 1_000_003 * self._done) % 2**63)
        if self.rule == "rigl":
            # A tensor without a gradient (its optimiser had no step in this batch) keeps its mask.
            dense, self._dense_gradients = self._dense_gradients, {}
            new = {
                n: rigl_update(params[n].detach(), dense[n], m, sparsity) if n in dense else m
                for n, m in self.masks.items()
            }
        else:
            new = {n: set_update(params[n].detach(), m, sparsity, generator) for n, m in self.masks.items()}
        return Masks(new)
