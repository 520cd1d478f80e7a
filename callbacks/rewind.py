"""Rewind: go back to a recorded step, with everything that belongs to it."""

from __future__ import annotations

from typing import Any

import lightning as L

from sparsebench.errors import UsageError
from sparsebench.snapshot import Snapshot


class Rewind(L.Callback):
    """Records the full state at a step and restores it, by default whenever a Pruner changes its masks.

    Weights, biases, norm parameters and statistics, optimiser and learning-rate schedule go back together.
    With a Pruner on an ``Iterative`` schedule this is iterative pruning with weight rewinding in one fit.

    Args:
        to_step: number of optimiser steps after which the state is recorded; 0 = before training.
        on_prune: restore at every change of masks; else call ``restore`` yourself.
    """

    def __init__(self, to_step: int = 0, on_prune: bool = True):
        self.to_step, self.on_prune = to_step, on_prune
        self.point: Snapshot | None = None

    @property
    def state_key(self) -> str:
        return f"Rewind[{self.to_step}]"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._record_if_due(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self._record_if_due(trainer, pl_module)

    def _record_if_due(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.point is None and trainer.global_step >= self.to_step:
            self.point = Snapshot.take(module, trainer.optimizers, _schedulers(trainer))

    def on_masks_changed(self, trainer: L.Trainer, pl_module: L.LightningModule, pruner: L.Callback) -> None:
        if not self.on_prune:
            return
        if self.point is not None:
            self.restore(trainer, pl_module)
        elif trainer.global_step < self.to_step:
            raise UsageError(
                f"masks change at step {trainer.global_step}, before the rewind point at step {self.to_step} is "
                "recorded: rewind to an earlier step or prune later"
            )

    def restore(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the recorded state back; the masks in force are applied again by their Pruner."""
        self.point.restore(pl_module, trainer.optimizers, _schedulers(trainer))

    def state_dict(self) -> dict[str, Any]:
        return {"point": None if self.point is None else self.point.tree}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.point = None if state["point"] is None else Snapshot(state["point"])


def _schedulers(trainer: L.Trainer) -> list:
    return [config.scheduler for config in trainer.lr_scheduler_configs]
