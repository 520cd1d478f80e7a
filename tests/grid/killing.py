"""Killing: a run that dies at the end of every epoch, and is started again until it is through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sparsebench.grid.training as training
from tests.grid.conftest import run_inline


class Killed(BaseException):
    """Stands for kill -9: nothing below catches it."""


def run_killed(board: Any, folder: Path, monkeypatch: Any, most: int) -> tuple[Any, int]:
    """The result of the run that was not killed any more, None after ``most`` starts; and how often it was killed.

    At the end of a training it is killed once: after that no checkpoint is due, so it comes there again.
    """
    original, kills, ended = training.Checkpoint.on_train_epoch_end, 0, set()

    def save_and_die(self, trainer, module):
        original(self, trainer, module)
        if trainer.current_epoch + 1 < trainer.max_epochs or self.path not in ended:
            ended.update([self.path] if trainer.current_epoch + 1 == trainer.max_epochs else [])
            raise Killed

    monkeypatch.setattr(training.Checkpoint, "on_train_epoch_end", save_and_die)
    for _ in range(most):
        try:
            return run_inline(board, folder, checkpoint_seconds=0.0), kills
        except Killed:
            kills += 1
    return None, kills
