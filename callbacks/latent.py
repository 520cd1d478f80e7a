"""Latent sparsity: sparse training in which masked weights keep a value (Top-KAST, STR, movement pruning)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightning as L
import torch

from sparsebench.allocation import LIKE, kept_count, split_allocation
from sparsebench.callbacks.latent_rules import RULES
from sparsebench.callbacks.pruner import Pruner, total_steps
from sparsebench.callbacks.rewind import Rewind
from sparsebench.errors import UsageError
from sparsebench.masks import Masks
from sparsebench.models.several_steps import like_automatic


class LatentSparsity(Pruner):
    """The network is sparse; behind it the optimiser changes dense latent weights, from which masks are chosen.

    Args:
        rule: ``topkast``, ``str`` or ``movement`` (the last is meant for fine-tuning a trained network).
        sparsity: removed fraction: throughout (``topkast``), or at the end of the cubic ramp.
        allocation: of the masks; default ``uniform``, as published. STR learns it.
        every: optimiser steps between updates of the masks. ``movement`` chooses masks after every step; its updates
            are when they are compared between ranks, recorded and told to other callbacks.
        on, include, exclude: as for ``Pruner``.
        arguments: the rule's own.
            topkast: ``extra`` (0.1), density that is trained beyond the forward masks; ``decay`` (1 / density), by
            which weight decay is stronger on what is trained and not in the network.
            str, movement: ``begin`` (0.0) and ``end`` (0.75) of the ramp, as fractions of training.
            movement: ``invert``, keep the lowest scores, a control.

    Outside ``optimizer.step`` the parameters hold the effective weights, at every moment: what is pruned is exactly 0
    in validation, in checkpoints and at the end. Clipping sees the gradients of what the rule trains. Masks are not
    nested: weights return, by definition. The last masks are chosen before the last step, so that the network is one
    that was trained. The optimiser's state of a pruned weight is part of these rules while training, except where the
    weight is not trained; at the end it is 0. Checkpoints carry latent weights, scores and thresholds.

    >>> LatentSparsity("topkast", 0.9, extra=0.05).plan(10)
    {0: 0.9}
    """

    def __init__(
        self,
        rule: str = "topkast",
        sparsity: float = 0.9,
        *,
        allocation: str | None = None,
        every: int = 100,
        on: str = "",
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        **arguments: Any,
    ):
        if rule not in RULES:
            raise UsageError(f"unknown rule {rule!r} for latent sparsity; known: {', '.join(RULES)}")
        kind = RULES[rule]
        for argument in arguments:
            if argument not in kind.defaults:
                raise UsageError(f"rule {rule!r} has no argument {argument!r} (it has: {', '.join(kind.defaults)})")
        allocation = allocation or kind.allocation
        if rule == "str" and allocation != "global":
            raise UsageError(f"allocation {allocation!r}: STR learns how weights spread over tensors; leave it out")
        if allocation.startswith(LIKE) or split_allocation(allocation)[1]:
            raise UsageError(f"allocation {allocation!r}: {rule} needs one for any density, such as uniform or erk")
        super().__init__(f"magnitude/{allocation}", sparsity, on=on, include=include, exclude=exclude)
        self.rule, self.every, self.arguments = rule, every, {**kind.defaults, **arguments}
        extra, decay = self.arguments.get("extra", 0.0), self.arguments.get("decay")
        if every < 1 or not 0 <= extra <= 1 or (decay is not None and decay < 0):
            raise UsageError(
                f"every={every!r} must be at least 1, extra={extra!r} in [0, 1] and decay={decay!r} not negative"
            )
        self._between: dict[int, float] = {}
        self._stored: dict[str, Any] | None = None

    @property
    def method(self) -> str:
        return f"{self.rule}/{self.allocation}"

    def plan(self, steps: int) -> dict[int, float]:
        return RULES[self.rule].plan(steps, self.sparsity, self.every, **self.arguments)

    @property
    def on_schedule(self) -> bool:
        """Whether every update kept exactly as many weights as the schedule asked for."""
        return all(e["kept"] == kept_count(1 - e["asked"], self.masks.total) for e in self.history)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _refuse(trainer, pl_module)
        params = dict(self.target(pl_module).named_parameters())
        scope = self.scope(pl_module)
        masks = self.masks or Masks.dense(self.target(pl_module), scope.prunable)
        self.masks = masks.to(next(iter(scope.prunable.values())).device)
        self._upkeep = RULES[self.rule](params, self.masks, self._stored, self.allocation, **self.arguments)
        self._upkeep.mask_weights()
        self._upkeep.attach(trainer.optimizers)
        self._plan = self.plan(total_steps(trainer, pl_module))
        if self._upkeep.every_step:
            self._between = self._upkeep.plan(total_steps(trainer, pl_module), self.sparsity, 1, **self.arguments)
        self._update_if_due(trainer, pl_module)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer) -> None:
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            if getattr(optimizer, "_step_supports_amp_scaling", False):
                # A fused optimiser would unscale in its step; the rules look at the gradients before.
                scaler.unscale_(optimizer)
            # The scaler has seen what overflowed and will skip the step; scores and thresholds go on from finite ones.
            self._upkeep.clear_nonfinite_gradients()
        super().on_before_optimizer_step(trainer, pl_module, optimizer)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *arguments: Any) -> None:
        self._upkeep.put_back()
        super().on_train_batch_end(trainer, pl_module, *arguments)
        if trainer.global_step > self._done and trainer.global_step in self._between:
            self._done = trainer.global_step
            self.masks = self._upkeep.next_masks(self._between[self._done])
            self._upkeep.change(self.masks)
            self._upkeep.mask_weights()
            self._upkeep.mask_optimizer_state(trainer.optimizers)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._upkeep.freeze(trainer.optimizers)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._upkeep:
            self._upkeep.put_back()
        super().on_exception(trainer, pl_module, exception)

    def _next_masks(self, trainer: L.Trainer, module: L.LightningModule, sparsity: float) -> Masks:
        return self._upkeep.next_masks(sparsity)

    def _change(self, trainer: L.Trainer, module: L.LightningModule, masks: Masks) -> None:
        before = self.masks
        super()._change(trainer, module, masks)
        self._upkeep.mask_weights()
        returned = sum(int((mask & ~before[name]).sum()) for name, mask in masks.items())
        self.history[-1] |= {"asked": self._plan[self._done], "returned": returned}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"upkeep": self._upkeep.state_dict() if self._upkeep else self._stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._stored = state["upkeep"]


def _refuse(trainer: L.Trainer, module: L.LightningModule) -> None:
    """Trainings in which latent weights would go wrong."""
    if not like_automatic(module):
        raise UsageError("latent sparsity puts weights in place around each step: it needs automatic optimisation")
    if any(isinstance(optimizer, torch.optim.LBFGS) for optimizer in trainer.optimizers):
        raise UsageError("latent sparsity needs an optimiser that evaluates the loss once a step, not LBFGS")
    if any(isinstance(callback, Rewind) and callback.on_prune for callback in trainer.callbacks):
        raise UsageError("Rewind does not bring back latent weights: use it with Pruner, or with on_prune=False")
