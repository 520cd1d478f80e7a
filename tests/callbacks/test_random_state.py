"""RandomState: every generator goes on where it was."""

from __future__ import annotations

import random

import lightning as L
import numpy
import pytest
import torch

from sparsebench.callbacks import RandomState


class Draws(L.Callback):
    """What is drawn, and in which order examples come."""

    def __init__(self, save=None):
        self.save, self.drawn = save, {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.drawn[trainer.global_step] = (
            random.random(),
            numpy.random.rand(),
            torch.rand(1).item(),
            batch[0].sum().item(),
        )

    def on_train_epoch_end(self, trainer, pl_module):
        if self.save and trainer.current_epoch == 0:
            trainer.save_checkpoint(self.save)


@pytest.mark.parametrize("kept", [True, False])
def test_python_numpy_torch_and_the_order_of_examples_continue(fit, tmp_path, kept):
    callbacks = (lambda: [RandomState()]) if kept else list
    whole = Draws(tmp_path / "c.ckpt")
    fit(*callbacks(), whole, max_epochs=2)
    random.seed(1), numpy.random.seed(1)
    resumed = Draws()
    fit(*callbacks(), resumed, max_epochs=2, ckpt_path=tmp_path / "c.ckpt")
    assert list(resumed.drawn) == list(range(6, 12))
    same = [resumed.drawn[step] == whole.drawn[step] for step in resumed.drawn]
    assert all(same) if kept else not any(same)


def test_a_checkpoint_with_random_states_loads_without_running_code(fit, tmp_path):
    fit(RandomState(), Draws(tmp_path / "c.ckpt"), max_epochs=1)
    stored = torch.load(tmp_path / "c.ckpt", weights_only=True)["callbacks"]["RandomState"]
    (mine,) = stored["ranks"]
    assert set(mine) == {"torch", "cuda", "numpy", "python"}
