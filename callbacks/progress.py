"""Progress: one line an epoch with what matters when pruning."""

from __future__ import annotations

import time

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from sparsebench.callbacks.current_masks import current_masks


class Progress(L.Callback):
    """Prints epoch, seconds, sparsity and every metric logged for the epoch; set the Trainer's own bar off.

    Args:
        every: epochs between lines; the last epoch is always printed.
        console: a ``rich`` console; default standard error.
    """

    def __init__(self, every: int = 1, console: Console | None = None):
        self.every = max(1, every)
        self.console = console or Console(stderr=True)
        self._began = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began = time.perf_counter()

    @rank_zero_only
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every and epoch != trainer.max_epochs:
            return
        self.console.print(self._line(trainer, epoch, time.perf_counter() - self._began), highlight=False)

    def _line(self, trainer: L.Trainer, epoch: int, seconds: float) -> str:
        last = f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
        parts = [f"epoch {epoch}{last}", f"{seconds:.1f} s"]
        masks = current_masks(trainer)
        if masks:
            kept = sum(int(mask.sum()) for mask in masks.values())
            parts.append(f"sparsity {1 - kept / sum(mask.numel() for mask in masks.values()):.4f}")
        parts += [f"{name} {float(value):.4g}" for name, value in trainer.callback_metrics.items()]
        return "  ".join(parts)
