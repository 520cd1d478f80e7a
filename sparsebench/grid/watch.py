"""Watch: the grid's own callbacks, which save, measure and audit a training while it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from sparsebench import tree
from sparsebench.callbacks import Pruner
from sparsebench.grid.state import state_hash, top1
from sparsebench.masks import Masks
from sparsebench.ranks import alone, from_leader, gather
from sparsebench.snapshot import Snapshot, load_optimizer


class Checkpoint(L.Callback):
    """Saves the training at the end of an epoch, at most every so many seconds; wants ``AtomicCheckpoints``.

    Not at the end of the last one: Lightning would go on from there without a step, and what callbacks do at the end of
    a training would be left out.
    """

    def __init__(self, path: Path, every_seconds: float):
        self.path, self.every = path, every_seconds
        self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch + 1 >= trainer.max_epochs:
            return
        # Clocks differ; saving is a thing all ranks do or none.
        if not from_leader(lambda: time.monotonic() - self._last >= self.every):
            return
        trainer.save_checkpoint(self.path)
        self._last = time.monotonic()


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning's own way leads over the system's temporary folder: another disk, which may be full, and in which a killed
    process leaves its file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        temporary = Path(path).with_name(f".{Path(path).name}.tmp")
        try:
            with open(temporary, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class LossCurve(L.Callback):
    """Mean training loss of every epoch over all ranks, summed on the device and read once an epoch."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._sum: torch.Tensor | None = None
        self._batches = 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, *_) -> None:
        self._sum = outputs["loss"].clone() if self._sum is None else self._sum.add_(outputs["loss"])
        self._batches += 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._sum is not None:
            self.losses.append(fmean(gather(float(self._sum) / self._batches)))
        self._sum, self._batches = None, 0

    def state_dict(self) -> dict:
        return {"losses": list(self.losses)}

    def load_state_dict(self, state: dict) -> None:
        self.losses = list(state["losses"])


class ValidationCurve(L.Callback):
    """Validation accuracy after every so many epochs, None for those between; nothing else of a training changes.

    Every rank sees its share of the images, and all have the same curve.
    """

    def __init__(self, batches: Iterable, every: int):
        self.batches, self.every = batches, every
        self.top1: list[float | None] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        asked = (len(self.top1) + 1) % self.every == 0
        self.top1.append(top1(pl_module.net, self.batches) if asked else None)

    def state_dict(self) -> dict:
        return {"top1": list(self.top1)}

    def load_state_dict(self, state: dict) -> None:
        self.top1 = list(state["top1"])


class KeepOptimizer(L.Callback):
    """Brings optimiser state in at the start and takes it out at the end.

    ``restored`` says whether the optimisers held exactly that state before the first step.
    """

    def __init__(self, state: dict | None):
        self.state, self.end = state, None
        self.restored = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.state and trainer.global_step == 0:
            for optimizer, state in zip(trainer.optimizers, self.state["optimizers"], strict=True):
                fresh = optimizer.state_dict()
                load_optimizer(optimizer, {"state": state["state"], "param_groups": fresh["param_groups"]})
            now = Snapshot.take(torch.nn.Module(), trainer.optimizers).tree
            self.restored = tree.digest(_moments(now)) == tree.digest(_moments(self.state))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.end = Snapshot.take(torch.nn.Module(), trainer.optimizers).tree

    def state_dict(self) -> dict[str, Any]:
        return {"restored": self.restored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.restored = state["restored"]


def _moments(snapshot: dict[str, Any]) -> list[Any]:
    return [optimizer["state"] for optimizer in snapshot["optimizers"]]


class GradualPruner(Pruner):
    """A Pruner that watches its own scoring: is the network left as it was, are the scores finite.

    Scores that are not finite are ranked last and noted, so that a diverged training ends as a collapsed
    cell with its numbers and not as a missing one.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.untouched = True
        self.notes = []

    def _next_masks(self, trainer: L.Trainer, module: L.LightningModule, sparsity: float) -> Masks:
        before = state_hash(module)
        with alone():  # all ranks score on the same data
            masks = super()._next_masks(trainer, module, sparsity)
        self.untouched &= state_hash(module) == before
        return masks

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"untouched": self.untouched, "notes": list(self.notes)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.untouched, self.notes = state["untouched"], list(state["notes"])
