"""Values of an epoch: told to loggers, and to callbacks that monitor them, without Lightning's accounting.

``self.log`` can average over steps and ranks and takes about a millisecond a value for it. What a callback has measured
once an epoch, alike on all ranks, needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping

import lightning as L
import torch


def tell(trainer: L.Trainer, values: Mapping[str, float]) -> None:
    """Log values at the end of an epoch; ``trainer.callback_metrics`` and ``logged_metrics`` have them, too."""
    found = {name: torch.tensor(float(value)) for name, value in values.items()}
    trainer.callback_metrics.update(found)
    trainer.logged_metrics.update(found)
    for logger in trainer.loggers:
        logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)
