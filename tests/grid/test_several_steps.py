"""Several optimiser steps in one Lightning step give what one step a batch gives, bit for bit."""

from __future__ import annotations

from functools import partial

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

import sparsebench.grid.training as training
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store
from sparsebench.models.classifier import Classifier
from sparsebench.models.several_steps import Chunks, SeveralSteps
from tests.grid.conftest import MLP, RESNET, run_inline, tiny_board

CLIPPED = MLP.replace("mask_every: 4", "mask_every: 4, clip: 0.1")
CASES = [
    ("magnitude@gmp", RESNET),
    ("rigl", MLP),
    ("topkast", MLP),
    ("movement@ramp", MLP),
    ("str", MLP),
    ("magnitude@imp(rewind=0.34)", MLP),
    ("snip@init", CLIPPED),
]


@pytest.mark.parametrize(("method", "task"), CASES)
@pytest.mark.parametrize("at_once", [4, 16])
def test_as_one_step_a_batch(method, task, at_once, tmp_path, monkeypatch):
    """Nine steps an epoch: chunks of 4, 4 and 1, or one of 9."""
    board = tiny_board(method, task=task)
    monkeypatch.setattr(training, "STEPS_AT_ONCE", at_once)
    several = run_inline(board, tmp_path / "several")
    asked = []

    def one_by_one(*arguments, several, **options):
        asked.append(several)
        return Classifier(*arguments, several=False, **options)

    monkeypatch.setattr(training, "Classifier", one_by_one)
    single = run_inline(board, tmp_path / "single")
    assert all(asked)
    for stage in plan(board.cells).stages:
        one, other = (Store(tmp_path / name).stage_report(stage) for name in ("several", "single"))
        assert one["final_digest"] == other["final_digest"]
        assert one["losses"] == other["losses"]
    for cell in board.cells:
        assert several.records[cell.id].data["metrics"] == single.records[cell.id].data["metrics"]
        assert several.records[cell.id].audit_passed


class Linear(SeveralSteps):
    def __init__(self, several: bool):
        super().__init__(several, total_steps=10)
        self.layer = torch.nn.Linear(2, 1)

    def loss(self, batch):
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


quiet_trainer = partial(
    L.Trainer,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)


class Diary(L.Callback):
    def __init__(self):
        self.steps, self.losses = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append(("before", trainer.global_step))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append(("after", trainer.global_step))
        self.losses.append(float(outputs["loss"]))


@pytest.mark.parametrize("several", [True, False])
def test_callbacks_hear_of_every_step(several):
    torch.manual_seed(0)
    batches = DataLoader([(torch.randn(4, 2),) for _ in range(5)], batch_size=None)
    diary = Diary()
    quiet_trainer(max_epochs=2, callbacks=[diary]).fit(Linear(several), Chunks(batches, 3) if several else batches)
    assert diary.steps == [(when, step + (when == "after")) for step in range(10) for when in ("before", "after")]
    assert len(set(diary.losses)) == 10


def test_a_checkpoint_of_the_other_way_is_not_gone_on_from(tmp_path):
    """Steps are counted apart: a training begun on two devices and resumed on one starts again."""
    for several in (True, False):
        trainer = quiet_trainer(max_epochs=1)
        batches = DataLoader([(torch.randn(4, 2),) for _ in range(5)], batch_size=None)
        trainer.fit(Linear(several), Chunks(batches, 3) if several else batches)
        trainer.save_checkpoint(tmp_path / "c.ckpt")
        assert training.readable(tmp_path / "c.ckpt", several)
        assert not training.readable(tmp_path / "c.ckpt", not several)
        assert (tmp_path / "c.ckpt").exists()
