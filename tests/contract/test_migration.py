"""What docs/from_modelpruning.md says of Lightning's ModelPruning, and what it says happens here, each claim run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, ModelPruning
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import sparsebench
from sparsebench.callbacks import Cubic, Iterative, OneShot, Pruner, Rewind

STEPS = 4
"""Batches an epoch."""
WEIGHTS = 8 * 32 + 32 * 4
pytestmark = pytest.mark.filterwarnings("ignore")


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Linear(32, 4)

    def forward(self, x):
        return self.last(self.norm(self.first(x)).relu())

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)


def fit(
    make: Callable, epochs: int = 3, watch: Callable | None = None, checkpoint: Path | None = None, **options
) -> Net:
    """A small network trained with the callback that ``make(net)`` gives; ``watch(net, trainer)`` after every epoch."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    L.seed_everything(0, verbose=False)
    x = torch.randn(16 * STEPS, 8)
    loader = DataLoader(TensorDataset(x, (x[:, :4]).argmax(1)), batch_size=16, shuffle=True)
    net = Net()
    made = make(net)
    callbacks = made if isinstance(made, list) else [made]
    if watch:
        callbacks.append(After(watch))
    if checkpoint:
        callbacks.append(ModelCheckpoint(checkpoint.parent, checkpoint.stem, save_on_train_epoch_end=True))
    quiet = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = L.Trainer(max_epochs=epochs, callbacks=callbacks, enable_checkpointing=bool(checkpoint), **quiet)
    trainer.fit(net, loader, **options)
    net.trained_by = trainer
    return net


class After(L.Callback):
    def __init__(self, watch: Callable):
        self.watch = watch

    def on_train_epoch_end(self, trainer, pl_module):
        self.watch(pl_module, trainer)


def theirs(amount, *, lottery=False, epochs=None, **options) -> Callable:
    """ModelPruning by magnitude on the weights alone; ``epochs``: those at whose end it prunes."""

    def make(net: Net) -> ModelPruning:
        when = {"apply_pruning": lambda epoch: epoch in epochs} if epochs is not None else {}
        where = {"parameters_to_prune": [(net.first, "weight"), (net.last, "weight")]}
        lottery_option = {} if lottery is None else {"use_lottery_ticket_hypothesis": lottery}
        return ModelPruning("l1_unstructured", amount=amount, **{**where, **when, **lottery_option, **options})

    return make


def kept(net: Net) -> int:
    return int((net.first.weight != 0).sum() + (net.last.weight != 0).sum())


# One shot, gradual, iterative: the same thing done both ways.


def test_one_shot_ends_in_the_same_network_to_the_last_bit():
    a = fit(theirs(0.75, epochs=[0])).state_dict()
    b = fit(lambda net: Pruner("magnitude", sparsity=0.75, schedule=OneShot(at=1 / 3))).state_dict()
    assert all(torch.equal(a[name], value) for name, value in b.items())
    assert a.keys() == b.keys()
    assert int((b["first.weight"] != 0).sum() + (b["last.weight"] != 0).sum()) == WEIGHTS // 4


def test_a_gradual_schedule_needs_amounts_of_what_is_left():
    schedule = Cubic(begin=0.0, end=0.75, every=STEPS)
    levels = [0.0, *schedule.plan(4 * STEPS, 0.9).values()]
    # Asked after every epoch, also where apply_pruning says no.
    a = fit(theirs(lambda epoch: 1 - (1 - levels[epoch + 1]) / (1 - levels[epoch]) if epoch < 3 else 0), 4)
    b = fit(lambda net: Pruner("magnitude", sparsity=0.9, schedule=schedule), 4)
    assert kept(b) == round(0.1 * WEIGHTS)
    assert abs(kept(a) - kept(b)) <= 1
    twice = fit(theirs(0.9, epochs=[0, 1]), 3)
    assert kept(twice) == pytest.approx(0.01 * WEIGHTS, abs=1), "0.9 twice is 0.99"


# What ModelPruning does.


def test_defaults_prune_biases_and_norms():
    net = fit(lambda net: ModelPruning("l1_unstructured", make_pruning_permanent=False), 1)
    masked = {name for name, _ in net.named_buffers() if name.endswith("_mask")}
    assert {"first.bias_mask", "norm.weight_mask", "norm.bias_mask", "last.bias_mask"} < masked
    scope = Pruner().scope(Net())
    assert set(scope.prunable) == {"first.weight", "last.weight"}


def test_amounts_compound_and_an_int_counts():
    assert kept(fit(theirs(0.5), 3)) == WEIGHTS // 8
    assert kept(fit(theirs(1), 3)) == WEIGHTS - 3
    assert kept(fit(theirs(1.0), 1)) == 0


def test_by_default_the_network_ends_at_its_initial_weights():
    start = {}
    net = fit(lambda net: start.update(deepcopy(net.state_dict())) or theirs(0.5, lottery=None)(net), 1)
    for name in ("first.weight", "last.weight"):
        weight = net.state_dict()[name]
        assert torch.equal(weight, start[name] * (weight != 0)), "the epoch's training is gone"
    assert not torch.equal(net.first.bias, start["first.bias"]), "what is not pruned is not reset"


def test_on_a_cpu_its_second_reset_resets_nothing():
    start, seen = {}, []

    def watch(net: Net, trainer: L.Trainer) -> None:
        mask = net.first.weight_mask.bool()
        moved = (net.first.weight_orig - start["first.weight"])[mask].abs().max().item()
        seen.append((moved, net.first.weight_orig.data_ptr()))

    made = []

    def make(net: Net) -> ModelPruning:
        start.update(deepcopy(net.state_dict()))
        made.append(theirs(0.5, lottery=True)(net))
        return made[0]

    fit(make, 3, watch)
    assert seen[0][0] == 0
    assert seen[1][0] > 0.01
    saved = {layer["data"].weight.data_ptr() for layer in made[0]._original_layers.values()}
    assert seen[1][1] in saved, "the saved initial weights are the live ones"


def test_its_reset_leaves_momentum_and_statistics():
    seen = []

    def watch(net: Net, trainer: L.Trainer) -> None:
        momentum = trainer.optimizers[0].state[net.first.weight_orig]["momentum_buffer"]
        seen.append((momentum.abs().max().item(), net.norm.running_mean.abs().max().item()))

    fit(theirs(0.5, lottery=True, epochs=[0]), 1, watch)
    assert min(seen[0]) > 1e-3

    def rewound(trainer: L.Trainer, net: Net, pruner: Pruner) -> None:
        """Told right after the rewind, as callbacks are in order."""
        momenta = [state["momentum_buffer"] for state in trainer.optimizers[0].state.values() if state]
        seen.append((sum(m.abs().sum().item() for m in momenta), net.norm.running_mean.abs().sum().item()))

    spy = L.Callback()
    spy.on_masks_changed = rewound
    fit(lambda net: [Pruner("magnitude", sparsity=0.5, schedule=OneShot(at=1.0)), Rewind(), spy], 1)
    assert seen[1] == (0, 0)


def test_iterative_pruning_with_rewinding_here():
    start = {}

    def watch(net: Net, trainer: L.Trainer) -> None:
        if trainer.current_epoch < 3:
            mask = net.first.weight != 0
            seen.append((net.first.weight - start["first.weight"])[mask].abs().max().item())

    def make(net: Net) -> list:
        start.update(deepcopy(net.state_dict()))
        return [Pruner("magnitude", sparsity=0.875, schedule=Iterative(rounds=3, end=0.75)), Rewind(to_step=0)]

    seen: list[float] = []
    assert kept(fit(make, 4, watch)) == WEIGHTS // 8
    assert seen == [0, 0, 0]


def test_keys_change_while_it_trains_and_the_order_of_parameters_for_good():
    seen = []
    net = fit(theirs(0.5), 2, lambda net, trainer: seen.append(set(net.state_dict())))
    assert {"first.weight_orig", "first.weight_mask"} < seen[0]
    assert "first.weight" not in seen[0]
    assert [name for name, _ in net.named_parameters()] != [name for name, _ in Net().named_parameters()]
    here = []
    ours = fit(lambda net: Pruner(sparsity=0.5), 2, lambda net, trainer: here.append(list(net.state_dict())))
    assert here[0] == list(Net().state_dict())
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in Net().named_parameters()]


def test_a_resumed_run_forgets_its_masks(tmp_path):
    path = tmp_path / "run.ckpt"
    assert kept(fit(theirs(0.75, epochs=[0]), 1, checkpoint=path)) == WEIGHTS // 4
    resumed = fit(theirs(0.75, epochs=[0]), 2, ckpt_path=path, weights_only=False)
    assert kept(resumed) == WEIGHTS, "every pruned weight is back"


def test_without_permanence_a_checkpoint_does_not_load(tmp_path):
    path = tmp_path / "run.ckpt"
    fit(theirs(0.75, epochs=[0], make_pruning_permanent=False), 1, checkpoint=path)
    with pytest.raises(RuntimeError, match=r"Missing key.*first.weight"):
        fit(theirs(0.75, epochs=[0], make_pruning_permanent=False), 2, ckpt_path=path, weights_only=False)


def test_here_a_resumed_run_keeps_its_masks(tmp_path):
    path = tmp_path / "run.ckpt"

    def make(net: Net) -> Pruner:
        return Pruner("magnitude", sparsity=0.75, schedule=OneShot(at=0.25))

    fit(make, 4, checkpoint=path)
    resumed = fit(make, 6, ckpt_path=path, weights_only=False)
    assert kept(resumed) == WEIGHTS // 4


def test_it_ranks_weights_of_one_step_ago():
    seen = []

    def before(net: Net, trainer: L.Trainer) -> None:
        if trainer.current_epoch == 1:
            seen.append((net.first.weight - net.first.weight_orig * net.first.weight_mask).abs().max().item())

    fit(lambda net: [After(before), theirs(0.5, epochs=[0, 1])(net)], 2)
    assert seen[0] > 1e-5, "what it is about to rank is not what the optimiser has made of it"


def test_what_it_prunes_goes_on_moving_underneath():
    seen = []

    def watch(net: Net, trainer: L.Trainer) -> None:
        seen.append((net.first.weight_orig * (1 - net.first.weight_mask)).detach().clone())

    fit(theirs(0.5, epochs=[0]), 2, watch)
    assert not torch.equal(seen[0], seen[1])
    assert seen[1].abs().max() > 0


def test_its_structured_pruning_refuses_the_default_parameters_and_shrinks_nothing():
    norm = {"pruning_dim": 0, "pruning_norm": 2, "use_lottery_ticket_hypothesis": False}
    local = {"use_global_unstructured": False}
    with pytest.raises(MisconfigurationException, match="unstructured"):
        fit(lambda net: ModelPruning("ln_structured", **norm), 1)
    with pytest.raises(ValueError, match="multidimensional"):
        fit(lambda net: ModelPruning("ln_structured", parameter_names=["weight"], **local, **norm), 1)
    net = fit(lambda net: ModelPruning("ln_structured", [(net.first, "weight")], amount=0.5, **local, **norm), 1)
    alive = (net.first.weight != 0).any(1)
    assert (net.first.weight.shape, int(alive.sum())) == ((32, 8), 16)
    assert (net.first.bias[~alive] != 0).all(), "their biases go on"
    ours = Net()
    sparsebench.prune(ours, "l2", sparsity=0.5, data=[(torch.randn(4, 8), torch.arange(4))])
    assert ours.first.weight.shape[0] == ours.norm.weight.shape[0] == ours.last.weight.shape[1] < 32
