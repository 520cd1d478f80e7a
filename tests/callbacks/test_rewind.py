"""Rewind: weights, statistics, optimiser and schedule go back together."""

from __future__ import annotations

import lightning as L
import pytest
import torch

from sparsebench.callbacks import Iterative, OneShot, Pruner, RandomState, Rewind
from sparsebench.errors import UsageError
from sparsebench.snapshot import Snapshot, state_digest


def schedulers(trainer):
    return [config.scheduler for config in trainer.lr_scheduler_configs]


def now(trainer, module) -> Snapshot:
    return Snapshot.take(module, trainer.optimizers, schedulers(trainer))


class At(L.Callback):
    """The state after a step, and a call there."""

    def __init__(self, step, act=lambda trainer, module: None):
        self.step, self.act, self.before, self.after = step, act, None, None

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            self.before = now(trainer, pl_module)
            self.act(trainer, pl_module)
            self.after = now(trainer, pl_module)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_everything_goes_back_equal_by_digest(fit, make_module, optimizer):
    rewind = Rewind(to_step=3, on_prune=False)
    point, later = At(3), At(9, rewind.restore)
    fit(rewind, point, later, module=make_module(optimizer))
    assert rewind.point.digest() == point.after.digest() == later.after.digest()
    assert later.before.digest() != later.after.digest()
    tree = later.after.tree
    assert tree["model"]["body.1.num_batches_tracked"] == 3
    assert tree["schedulers"][0]["last_epoch"] == 3
    assert tree["optimizers"][0]["state"]


def test_step_zero_is_the_state_before_training(fit, make_module):
    module = make_module()
    before = state_digest(module)
    rewind = Rewind(on_prune=False)
    later = At(7, rewind.restore)
    fit(rewind, later, module=module)
    fresh = make_module()
    fresh.load_state_dict(later.after.tree["model"])
    assert state_digest(fresh) == before
    assert later.after.tree["optimizers"][0]["state"] == {}


@pytest.mark.parametrize("rewind_first", [True, False])
def test_with_a_pruner_kept_weights_go_back_and_pruned_ones_to_zero(fit, rewind_first):
    pruner, rewind = Pruner("magnitude", 0.9, schedule=Iterative(2, 0.8)), Rewind(to_step=2)
    looks = []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            if trainer.global_step in pruner._plan:
                looks.append((now(trainer, pl_module).tree, pruner.masks))

    fit(*((rewind, pruner) if rewind_first else (pruner, rewind)), Look())
    assert len(looks) == 2
    for tree, masks in looks:
        point = rewind.point.tree
        for name, value in point["model"].items():
            expected = value * masks[name] if name in masks else value
            assert (tree["model"][name] == expected).all(), name
        assert tree["schedulers"][0]["last_epoch"] == 2
        for key, state in tree["optimizers"][0]["state"].items():
            name = next(iter(point["model"])) if key == 0 else None
            if name in masks:
                assert (state["momentum_buffer"][~masks[name]] == 0).all()
                kept = point["optimizers"][0]["state"][key]["momentum_buffer"][masks[name]]
                assert (state["momentum_buffer"][masks[name]] == kept).all()
    assert pruner.leaked == 0


def test_the_point_survives_a_resume_bit_for_bit(fit, make_module, tmp_path):
    class Save(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

    def callbacks():
        return Pruner("magnitude", 0.9, schedule=Iterative(3, 0.9)), Rewind(to_step=2), RandomState()

    whole = fit(*callbacks(), Save(), max_epochs=3)
    again, module = callbacks(), make_module()
    torch.rand(5)
    fit(*again, module=module, max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert state_digest(module) == state_digest(whole)


def test_pruning_before_the_point_is_refused(fit):
    with pytest.raises(UsageError, match="masks change at step 3, before the rewind point at step 8"):
        fit(Pruner("magnitude", 0.9, schedule=OneShot(0.25)), Rewind(to_step=8))
