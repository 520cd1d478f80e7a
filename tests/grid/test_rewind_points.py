"""Rewind points: a stage of its own, equal to the dense training at that epoch, down to the optimiser."""

from __future__ import annotations

import shutil

import lightning as L
import pytest
import torch
from safetensors.torch import load_file

import sparsebench.grid.perform as perform
import sparsebench.grid.stages as stages
import sparsebench.grid.training as training
from sparsebench import tree
from sparsebench.grid.plan import plan
from sparsebench.grid.state import initial_net
from sparsebench.grid.store import Store
from sparsebench.masks import Masks
from sparsebench.snapshot import Snapshot, state_digest
from tests.grid.conftest import RESNET, run_inline, tiny_board

REWIND = "magnitude@imp(rewind=0.34)"
"""One of three epochs."""


class Watched(L.Callback):
    """What each training looked like when it began and after its first epoch."""

    seen: list[dict]

    def on_train_start(self, trainer, module):
        self.seen.append({"rates": [], "epochs": trainer.max_epochs, "mode": module.net.training})
        self.seen[-1]["buffers"] = {n: b.clone() for n, b in module.net.named_buffers()}

    def on_train_epoch_start(self, trainer, module):
        # After all callbacks have brought in what they bring in.
        if trainer.current_epoch == 0:
            self.seen[-1]["began"] = Snapshot.take(module.net, trainer.optimizers).tree

    def on_train_batch_start(self, trainer, module, *_):
        self.seen[-1]["rates"].append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer, module):
        self.seen[-1].setdefault("one_epoch", Snapshot.take(module.net, trainer.optimizers).tree)

    def on_train_end(self, trainer, module):
        self.seen[-1]["moved"] = [n for n, b in module.net.named_buffers() if not b.equal(self.seen[-1]["buffers"][n])]


def watched(method: str, store, monkeypatch):
    """The board, its store and what was seen of each training, in order."""
    seen: list[dict] = []
    original = training.fit

    def fit(module, data, epochs, callbacks, *rest):
        watch = Watched()
        watch.seen = seen
        return original(module, data, epochs, [*callbacks, watch], *rest)

    monkeypatch.setattr(training, "fit", fit)
    board = tiny_board(method, task=RESNET)
    result = run_inline(board, store)
    assert not result.failed
    assert all(record.audit_passed for record in result.records.values())
    return board, Store(store), seen


def stages_of(board):
    """The plan's stages of the pruned cell: its chain, and the rewind point of its last stage."""
    whole = plan(board.cells)
    chain = whole.chains[next(c.id for c in board.cells if not c.method.is_dense)]
    return [whole.stages[name] for name in chain], whole.stages[chain[-1]].rewind_point


def moments(snapshot: dict) -> dict[int, torch.Tensor]:
    """Momentum by parameter index."""
    return {i: state["momentum_buffer"] for i, state in snapshot["optimizers"][0]["state"].items()}


def in_optimizer_order(weights: dict) -> list[tuple[str, torch.Tensor]]:
    """Parameters in the order of the optimiser's indices: what is decayed first."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    named = [(n, v) for n, v in weights.items() if not n.endswith(buffers)]
    return sorted(named, key=lambda pair: pair[1].dim() <= 1)


def test_the_point_is_the_dense_training_at_that_epoch_bit_for_bit(tmp_path, monkeypatch):
    board, store, seen = watched(REWIND, tmp_path, monkeypatch)
    _, point = stages_of(board)
    dense = next(s for s in seen if s["epochs"] == 3)
    weights = load_file(store.stage(point) / "weights.safetensors")
    assert weights.keys() == dense["one_epoch"]["model"].keys()
    assert any("running_var" in name for name in weights)
    assert all(torch.equal(weights[n], v) for n, v in dense["one_epoch"]["model"].items())
    stored = moments(tree.load(store.stage(point) / "optimizer.safetensors"))
    live = moments(dense["one_epoch"])
    assert stored.keys() == live.keys()
    assert all(torch.equal(stored[i], live[i]) for i in live)
    assert all(m.abs().sum() > 0 for m in live.values())


def test_every_round_starts_from_the_point_under_its_masks(tmp_path, monkeypatch):
    board, store, seen = watched(REWIND, tmp_path, monkeypatch)
    chain, point = stages_of(board)
    weights = load_file(store.stage(point) / "weights.safetensors")
    momentum = moments(tree.load(store.stage(point) / "optimizer.safetensors"))
    rounds = [s for s in seen if s["epochs"] == 2]
    assert len(rounds) == len(chain) - 1 == 2
    for stage, began in zip(chain[1:], (r["began"] for r in rounds), strict=True):
        masks = Masks.load(store.stage(stage.id) / "masks.safetensors")
        assert 0 < masks.kept < masks.total
        for name, value in began["model"].items():
            assert torch.equal(value, weights[name] * masks[name] if name in masks else weights[name]), name
        for i, (name, value) in enumerate(in_optimizer_order(began["model"])):
            recorded = momentum[i] * masks[name] if name in masks else momentum[i]
            assert torch.equal(moments(began)[i], recorded), name
            assert recorded.shape == value.shape
            assert recorded.any()


def test_the_schedule_continues_where_it_was(tmp_path, monkeypatch):
    _, _, seen = watched(REWIND, tmp_path, monkeypatch)
    dense = next(s for s in seen if s["epochs"] == 3)["rates"]
    steps = len(dense) // 3
    assert len(set(dense)) == len(dense), "a schedule whose rates all differ shows where a training is"
    for rewound in (s["rates"] for s in seen if s["epochs"] == 2):
        assert rewound == pytest.approx(dense[steps:])


def test_rewinding_to_zero_is_initialisation(tmp_path, monkeypatch):
    board, store, seen = watched("magnitude@imp", tmp_path, monkeypatch)
    chain, point = stages_of(board)
    assert point is None
    net = initial_net(chain[0].task, 0, (1, 8, 8), 10)
    dense, *rounds = seen
    assert dense["began"]["model"].keys() == net.state_dict().keys()
    assert all(torch.equal(v, net.state_dict()[n]) for n, v in dense["began"]["model"].items())
    for stage, began in zip(chain[1:], rounds, strict=True):
        masks = Masks.load(store.stage(stage.id) / "masks.safetensors")
        expected = initial_net(stage.task, 0, (1, 8, 8), 10)
        masks.apply(expected)
        assert all(torch.equal(v, expected.state_dict()[n]) for n, v in began["began"]["model"].items())
        assert not began["began"]["optimizers"][0]["state"]


@pytest.mark.parametrize("method", ["snip@init", "magnitude@finetune", "magnitude@lrr", REWIND])
def test_batch_norm_learns_in_every_training(method, tmp_path, monkeypatch):
    """Also behind an evaluation that leaves the network in evaluation mode: Lightning trains in the mode it finds."""

    def careless(net, batches):
        net.eval()
        return 0.5

    monkeypatch.setattr(stages, "top1", careless)
    monkeypatch.setattr(perform, "top1", careless)
    _, _, seen = watched(method, tmp_path, monkeypatch)
    assert len(seen) >= 2
    for training_ in seen:
        assert training_["mode"], "the network was trained in evaluation mode"
        assert {n.rpartition(".")[2] for n in training_["moved"]} == {
            "running_mean",
            "running_var",
            "num_batches_tracked",
        }
        assert set(training_["moved"]) == set(training_["buffers"])


def test_reinit_trains_other_weights_under_the_same_masks(tmp_path, monkeypatch):
    board, store, seen = watched("magnitude@imp+reinit", tmp_path, monkeypatch)
    chain, _ = stages_of(board)
    masks = Masks.load(store.stage(chain[-1].id) / "masks.safetensors")
    fresh, other = (initial_net(chain[0].task, 0, (1, 8, 8), 10, draw=draw) for draw in (0, 1))
    assert state_digest(fresh) != state_digest(other)
    began = seen[-1]["began"]["model"]
    masks.apply(other)
    assert all(torch.equal(v, began[n]) for n, v in other.state_dict().items())
    name = next(iter(masks))
    kept = masks[name]
    assert not torch.isclose(began[name][kept], fresh.state_dict()[name][kept]).any()


def test_shuffle_keeps_the_counts_of_layers_and_moves_the_weights(tmp_path, monkeypatch):
    stored = {}
    for method in ("magnitude@finetune", "magnitude@finetune+shuffle"):
        board, store, _ = watched(method, tmp_path / method, monkeypatch)
        stored[method] = Masks.load(store.stage(stages_of(board)[0][-1].id) / "masks.safetensors")
    plain, shuffled = stored.values()
    assert plain.counts == shuffled.counts
    assert not any(plain[n].equal(shuffled[n]) for n in plain)


def test_fine_tuning_holds_a_constant_share_of_the_peak(tmp_path, monkeypatch):
    board, _, seen = watched("magnitude@finetune", tmp_path, monkeypatch)
    assert seen[-1]["rates"] == pytest.approx([0.1 * board.tasks[0].recipe.rate] * len(seen[-1]["rates"]))


def test_a_damaged_rewind_point_is_set_aside_and_computed_again(tmp_path):
    board = tiny_board("magnitude@imp(rewind=0.34)", sparsities=(0.75,), task=RESNET)
    whole = run_inline(board, tmp_path)
    cell = next(c for c in board.cells if not c.method.is_dense)
    planned = plan(board.cells)
    point = next(planned.stages[s].rewind_point for s in planned.chains[cell.id] if planned.stages[s].rewind_point)
    store = Store(tmp_path)
    weights = store.stage(point) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    (store.records / f"{cell.id}.json").unlink()
    shutil.rmtree(store.stage(planned.chains[cell.id][-1]))
    again = run_inline(board, tmp_path)
    assert not again.failed
    assert again.records[cell.id].data["metrics"] == whole.records[cell.id].data["metrics"]
    assert any("damaged" in note for note in again.notes)
