"""Activating: gradual pruning with AP, a part of every update of the masks (``sparsebench.activation``)."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from sparsebench.activation import activated
from sparsebench.grid.watch import GradualPruner
from sparsebench.masks import Masks
from sparsebench.phases import Activating
from sparsebench.protocol import derived_seed
from sparsebench.registry import criterion


class ActivatingPruner(GradualPruner):
    """A GradualPruner that leaves a part of every update to AP; weights have moved since the update before."""

    def __init__(self, ap: Activating, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.ap = ap
        self._start: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._start:  # else a checkpoint brought it
            self._remember(pl_module)
        super().on_train_start(trainer, pl_module)

    def _next_masks(self, trainer: L.Trainer, module: L.LightningModule, sparsity: float) -> Masks:
        alive, weights = self.masks, self.scope(module).prunable

        def base(masks: Masks, sparsity: float) -> Masks:
            self.masks = masks
            try:
                return GradualPruner._next_masks(self, trainer, module, sparsity)
            finally:
                self.masks = alive

        seed = derived_seed(self.seed, "ap", trainer.global_step)
        floor = criterion.entry(self.criterion).traits.get("floor", 0)
        return activated(self.ap, sparsity, alive, weights, self._start, base, floor=floor, seed=seed).masks

    def _change(self, trainer: L.Trainer, module: L.LightningModule, masks: Masks) -> None:
        super()._change(trainer, module, masks)
        self._remember(module)

    def _remember(self, module: L.LightningModule) -> None:
        self._start = {name: weight.detach().clone() for name, weight in self.scope(module).prunable.items()}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"start": {name: weight.cpu() for name, weight in self._start.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._start = dict(state["start"])
