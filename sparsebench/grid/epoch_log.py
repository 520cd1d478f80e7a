"""EpochLog: hands the figures of every epoch of a training to the loggers."""

from __future__ import annotations

import lightning as L

from sparsebench.callbacks import Pruner
from sparsebench.grid.trackers import Tracker
from sparsebench.grid.watch import LossCurve


class EpochLog(L.Callback):
    """Notes the mean loss of each epoch, the learning rate at its end and, while masks change, the sparsity.

    It reads what other callbacks have summed already; nothing is computed on the device for it.
    """

    def __init__(self, tracker: Tracker, curve: LossCurve, pruner: Pruner | None):
        self.tracker, self.curve, self.pruner = tracker, curve, pruner

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        found = {"loss": self.curve.losses[-1] if self.curve.losses else None}
        found["rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        if self.pruner and self.pruner.history:
            prunable = sum(mask.numel() for mask in self.pruner.masks.values())
            found["sparsity"] = 1 - self.pruner.history[-1]["kept"] / prunable
        self.tracker.log(found, trainer.current_epoch + 1)
