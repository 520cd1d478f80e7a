"""DynamicSparsity: constant counts, grown weights start fresh, exact resume."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch.nn.functional import cross_entropy

from sparsebench.allocation import layer_counts
from sparsebench.callbacks import DynamicSparsity, Pruner, RandomState
from sparsebench.errors import UsageError
from sparsebench.snapshot import state_digest

RULES = ["rigl", "set"]


class Watch(L.Callback):
    """Compares masks, weights and momentum around every change of masks."""

    def __init__(self, pruner):
        self.pruner, self.grown, self.before = pruner, 0, None

    def on_train_batch_start(self, trainer, pl_module, *_):
        self.compare(trainer, pl_module)

    def on_train_end(self, trainer, pl_module):
        self.compare(trainer, pl_module)

    def compare(self, trainer, module):
        now, before = self.pruner.masks, self.before
        self.before = now
        if before is None or now is before:
            return
        assert now.counts == before.counts
        for name, mask in now.items():
            weight = module.get_parameter(name)
            state = trainer.optimizers[0].state[weight]
            grown = mask & ~before[name]
            self.grown += int(grown.sum())
            for value in (weight, *(v for v in state.values() if torch.is_tensor(v) and v.shape == mask.shape)):
                assert (value[~mask | grown] == 0).all(), name
                assert (value[mask & before[name]] != 0).any(), name


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("rule", RULES)
def test_counts_are_constant_and_grown_weights_start_fresh(fit, make_module, rule, optimizer):
    pruner = DynamicSparsity(rule, 0.8, every=2, end=1.0)
    watch = Watch(pruner)
    fit(pruner, watch, module=make_module(optimizer), max_epochs=2)
    shapes = {n: tuple(m.shape) for n, m in pruner.masks.items()}
    assert pruner.masks.counts == layer_counts("erk", shapes, 0.2)
    assert [entry["step"] for entry in pruner.history] == [0, 2, 4, 6, 8, 10]
    assert watch.grown > 20
    assert pruner.leaked == 0


def test_rigl_grows_where_the_dense_gradient_of_that_step_is_largest(make_module, make_trainer, make_loader):
    class Record(L.Callback):
        """The dense gradient and what masks and weights were, at the step before the update."""

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if trainer.global_step == 2:
                self.grads = {n: p.grad.clone() for n, p in pl_module.named_parameters()}
                self.masks = pruner.masks

    record, pruner = Record(), DynamicSparsity("rigl", 0.7, every=3, fraction=0.5, end=1.0)
    make_trainer([record, pruner], max_steps=5, max_epochs=-1).fit(make_module(), make_loader())
    moved = 0
    for name, mask in pruner.masks.items():
        grown = mask & ~record.masks[name]
        if grown.any():
            never = ~mask & ~record.masks[name]
            assert record.grads[name].abs()[grown].min() >= record.grads[name].abs()[never].max()
            moved += int(grown.sum())
    assert moved > 0


def test_rigl_anneals_to_nothing_and_set_does_not():
    rigl = DynamicSparsity("rigl", 0.9, every=10, fraction=0.3, end=0.5).plan(100)
    assert rigl == pytest.approx(
        {0: 0, 10: 0.15 * 1.8090, 20: 0.15 * 1.3090, 30: 0.15 * 0.6910, 40: 0.15 * 0.1910}, rel=1e-3
    )
    assert DynamicSparsity("set", 0.9, every=40, fraction=0.3, end=1.0).plan(100) == {0: 0, 40: 0.3, 80: 0.3}


@pytest.mark.parametrize("rule", RULES)
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(fit, make_module, tmp_path, rule):
    class Save(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

    def pruner():
        return DynamicSparsity(rule, 0.8, every=3, end=1.0)

    first = pruner()
    whole = fit(first, RandomState(), Save(), module=make_module("adamw"), max_epochs=3)
    again, module = pruner(), make_module("adamw")
    torch.rand(9)
    fit(again, RandomState(), module=module, max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert state_digest(module) == state_digest(whole)
    assert again.history == first.history


def test_with_accumulated_gradients_updates_still_come_by_optimiser_steps(fit):
    pruner = DynamicSparsity("rigl", 0.8, every=2, end=1.0)
    watch = Watch(pruner)
    fit(pruner, watch, max_epochs=2, accumulate_grad_batches=3)
    assert [entry["step"] for entry in pruner.history] == [0, 2]
    assert watch.grown > 0


def test_manual_optimisation_with_two_optimisers(fit, make_module):
    class Manual(make_module):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, index):
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(cross_entropy(self(batch[0]), batch[1]))
                optimizer.step()

        def configure_optimizers(self):
            return [torch.optim.SGD(self.body[i].parameters(), 0.1, momentum=0.9) for i in (0, 4)]

    pruner = DynamicSparsity("rigl", 0.5, every=4, end=1.0)
    fit(pruner, module=Manual(), max_epochs=2)
    assert len({entry["kept"] for entry in pruner.history}) == 1
    assert len({entry["digest"] for entry in pruner.history}) == len(pruner.history) > 2


def test_refusals(fit, make_module, tmp_path):
    with pytest.raises(UsageError, match="unknown rule 'rig'"):
        DynamicSparsity("rig")
    for wrong in ({"every": 0}, {"fraction": 2}, {"end": 1.5}):
        with pytest.raises(UsageError, match="must be at least 1"):
            DynamicSparsity("set", **wrong)
    with pytest.raises(UsageError, match="unknown allocation"):
        DynamicSparsity("set", allocation="erq")
    assert issubclass(DynamicSparsity, Pruner)


def test_a_checkpoint_of_another_rule_is_refused(fit, tmp_path):
    class Save(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / "c.ckpt")

    fit(DynamicSparsity("set", 0.5), Save(), max_epochs=1)
    with pytest.raises(UsageError, match=r"'set/erk'.*'rigl/erk'"):
        fit(DynamicSparsity("rigl", 0.5), ckpt_path=tmp_path / "c.ckpt")
