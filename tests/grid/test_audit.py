"""Each rule of the audit fails when it is broken on purpose, and the cell is then not ranked."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

import sparsebench.grid.finish as finish
import sparsebench.grid.perform as perform
import sparsebench.grid.stages as stages
import sparsebench.grid.watch as watch
import sparsebench.scoring as scoring
from sparsebench.callbacks import dynamic
from sparsebench.callbacks.upkeep import Upkeep
from sparsebench.data.module import DataModule
from sparsebench.functional import Pruning
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.run import publish
from sparsebench.grid.state import State
from sparsebench.masks import Masks
from sparsebench.methods import from_file
from sparsebench.record import load_all
from sparsebench.report import table
from tests.grid.conftest import MLP, RESNET, run_inline, tiny_board


def failures(method: str, store, task: str = MLP, sparsities=(0.75,)) -> list[set[int]]:
    """Rules that failed in the method's cells, smallest sparsity first."""
    board = tiny_board(method, sparsities=sparsities, task=task)
    result = run_inline(board, store)
    assert not result.failed
    cells = [cell for cell in board.cells if not cell.method.is_dense]
    return [{r["rule"] for r in result.records[cell.id].data["audit"] if not r["passed"]} for cell in cells]


@pytest.mark.parametrize("method", ["snip@init", "magnitude@imp(rewind=0.34)", "magnitude@gmp", "rigl"])
def test_nothing_fails_unbroken(method, tmp_path):
    assert failures(method, tmp_path, RESNET) == [set()]


def alter_masks(monkeypatch, change) -> None:
    original = perform.pruning

    def altered(net, *args, **options):
        masks = original(net, *args, **options).masks
        return Pruning(Masks(change({n: m.clone() for n, m in masks.items()}, net, options["masks"])))

    monkeypatch.setattr(perform, "pruning", altered)


def test_1_one_weight_too_many(tmp_path, monkeypatch):
    def one_more(masks, net, before):
        first = next(iter(masks.values())).view(-1)
        first[(~first).nonzero()[0]] = True
        return masks

    alter_masks(monkeypatch, one_more)
    assert failures("magnitude@finetune", tmp_path) == [{1}]


def test_2_momentum_revives_what_is_not_masked_after_the_step(tmp_path, monkeypatch):
    monkeypatch.setattr(Upkeep, "mask_weights", lambda self: None)
    monkeypatch.setattr(Upkeep, "mask_gradients", lambda self: None)
    assert failures("magnitude@finetune", tmp_path) == [{2}]


def test_3_masks_that_are_not_nested(tmp_path, monkeypatch):
    def regrow_one(masks, net, before):
        if before is not None:
            name = next(iter(masks))
            dropped, regrown = masks[name].nonzero()[0], (~before[name]).nonzero()[0]
            masks[name][tuple(dropped)], masks[name][tuple(regrown)] = False, True
        return masks

    alter_masks(monkeypatch, regrow_one)
    assert failures("magnitude@lrr", tmp_path)[0] == {3}


def test_3_a_dynamic_count_that_drifts(tmp_path, monkeypatch):
    original = dynamic.rigl_update

    def one_more(*args):
        mask = original(*args).view(-1)
        mask[(~mask).nonzero()[0]] = True
        return mask.view(args[2].shape)

    monkeypatch.setattr(dynamic, "rigl_update", one_more)
    assert failures("rigl", tmp_path) == [{1, 3}]


def test_4_ranks_that_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "gather", lambda value: ["a", "b"] if isinstance(value, str) else [value])
    assert failures("magnitude@finetune", tmp_path) == [{4}]


def test_5_a_key_the_dense_network_does_not_have(tmp_path, monkeypatch):
    original = perform.train

    def reparametrised(state, *rest):
        original(state, *rest)
        if state.masks is not None:
            state.net.register_buffer("fc1_mask", torch.ones(1))

    monkeypatch.setattr(perform, "train", reparametrised)
    assert failures("magnitude@finetune", tmp_path) == [{5}]


@pytest.mark.parametrize("forgotten", ["running_mean", "bias"])
def test_6_rewinding_that_forgets(forgotten, tmp_path, monkeypatch):
    original = perform.initial_net

    def forgetful(*args, **options):
        net = original(*args, **options)
        name = next(n for n in net.state_dict() if n.endswith(forgotten))
        net.state_dict()[name].add_(1.0)
        return net

    monkeypatch.setattr(perform, "initial_net", forgetful)
    assert failures("magnitude@imp", tmp_path, RESNET) == [{6}]


def test_6_a_rewind_point_whose_momentum_is_lost(tmp_path, monkeypatch):
    assert failures("magnitude@imp(rewind=0.34)", tmp_path / "kept", RESNET) == [set()]
    monkeypatch.setattr(watch, "load_optimizer", lambda optimizer, state: None)
    assert failures("magnitude@imp(rewind=0.34)", tmp_path / "lost", RESNET) == [{6}]


def test_7_scoring_that_moves_batch_norm_statistics(tmp_path, monkeypatch):
    @contextmanager
    def careless(model, *, train):
        model.train(train)
        yield

    monkeypatch.setattr(scoring, "untouched", careless)
    assert failures("snip@init", tmp_path, RESNET) == [{7}]


def test_8_a_look_at_the_test_set_while_training(tmp_path, monkeypatch):
    original = perform.train

    def peeking(state, phase, data, *rest):
        data.test_dataloader()
        original(state, phase, data, *rest)

    monkeypatch.setattr(perform, "train", peeking)
    assert failures("magnitude@finetune", tmp_path) == [{8}]


@pytest.mark.parametrize("reader", ["val_dataloader", "probe"])
def test_8_test_images_where_others_belong(reader, tmp_path, monkeypatch):
    """Validation at the end of a stage; dead neurons, which are counted after the one reading that is allowed."""
    monkeypatch.setattr(DataModule, reader, lambda self, *_: list(self.test_dataloader()))
    assert failures("magnitude@finetune", tmp_path) == [{8}]


EMPTIES = """
from sparsebench import criterion

@criterion(needs="weight", regime="init")
def empties_{name}(weight):
    return weight.abs() + (100.0 if weight.shape[1] == 64 else 0.0)
"""


def test_9_an_emptied_layer_is_flagged_and_counts(tmp_path):
    (tmp_path / "m.py").write_text(EMPTIES.format(name="flagged"))
    board = tiny_board(*from_file(str(tmp_path / "m.py")), sparsities=(0.9,))
    record = next(r for r in run_inline(board, tmp_path / "s").records.values() if r.cell["method"] != "dense")
    assert record.data["collapsed"]
    assert {"layer fc2.weight emptied", "layer classifier.weight emptied"} <= set(record.data["flags"])
    assert record.audit_passed
    assert record.data["metrics"]["top1"] < 0.2


def test_9_a_collapse_that_is_not_flagged(tmp_path, monkeypatch):
    (tmp_path / "m.py").write_text(EMPTIES.format(name="silently"))
    monkeypatch.setattr(State, "flag", lambda self, text: None)
    monkeypatch.setattr(finish, "collapsed", lambda *args: False)
    assert failures(from_file(str(tmp_path / "m.py"))[0], tmp_path / "s", sparsities=(0.9,)) == [{9}]


def test_9_scores_that_are_not_finite_are_flagged(tmp_path):
    (tmp_path / "m.py").write_text(
        'from sparsebench import criterion\n\n@criterion(needs="weight", regime="init")\n'
        'def overflows(weight):\n    return weight.abs() * float("inf")\n'
    )
    board = tiny_board(*from_file(str(tmp_path / "m.py")))
    record = next(r for r in run_inline(board, tmp_path / "s").records.values() if r.cell["method"] != "dense")
    assert "scores not finite" in record.data["flags"]
    assert record.data["collapsed"]
    assert record.audit_passed


@pytest.mark.parametrize("key", ["data_digest", "versions", "precision"])
def test_10_other_circumstances_than_the_dense_row(key, tmp_path, monkeypatch):
    original, calls = finish.circumstances, []

    def other(*arguments):
        calls.append(arguments)
        return original(*arguments) | ({key: "other"} if len(calls) > 1 else {})

    monkeypatch.setattr(finish, "circumstances", other)
    assert failures("magnitude@finetune", tmp_path) == [{10}]


@pytest.mark.parametrize("key", ["data_digest", "versions", "precision"])
def test_10_circumstances_that_change_between_two_stages(key, tmp_path, monkeypatch):
    """What was upgraded in the middle of a board is in its cells, although all were finished with the same."""
    original, calls = stages.circumstances, []

    def other(*arguments):
        calls.append(arguments)
        return original(*arguments) | ({key: "other"} if len(calls) > 1 else {})

    monkeypatch.setattr(stages, "circumstances", other)
    assert failures("magnitude@finetune", tmp_path) == [{10}]


def test_11_a_bias_among_the_masks(tmp_path, monkeypatch):
    def with_bias(masks, net, before):
        return masks | {"fc1.bias": torch.zeros_like(net.fc1.bias, dtype=torch.bool)}

    alter_masks(monkeypatch, with_bias)
    assert failures("magnitude@finetune", tmp_path) == [{11}]


def test_8_the_test_set_read_twice_at_the_end(tmp_path, monkeypatch):
    original = finish.logits

    def again(net, batches):
        finish.task_data(current["cell"].task, Hardware()).test_dataloader()
        return original(net, batches)

    current = {}
    finishing = finish.finish_cell

    def noted(job, *rest):
        current["cell"] = job.cell
        return finishing(job, *rest)

    monkeypatch.setattr(finish, "finish_cell", noted)
    monkeypatch.setattr(finish, "logits", again)
    assert failures("magnitude@finetune", tmp_path) == [{8}]


def test_9_a_collapsed_cell_counts_in_the_mean(tmp_path):
    (tmp_path / "m.py").write_text(EMPTIES.format(name="and_counts"))
    board = tiny_board(*from_file(str(tmp_path / "m.py")), sparsities=(0.9,))
    result = run_inline(board, tmp_path / "s")
    publish(board, result, tmp_path / "results")
    cells, _ = table.select(table.frame(load_all(tmp_path / "results")[0]), board.info())
    row = table.leaderboard(cells, 1).set_index("method").loc["empties_and_counts@init"]
    (top1,) = [r.data["metrics"]["top1"] for r in result.records.values() if r.cell["method"] != "dense"]
    assert (row["collapsed"], row["state"], row["top1"]) == (1, "ranked", top1)


def test_a_cell_that_fails_is_shown_and_not_ranked(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "gather", lambda value: ["a", "b"] if isinstance(value, str) else [value])
    board = tiny_board("magnitude@finetune", "random/erk@init")
    publish(board, run_inline(board, tmp_path / "s"), tmp_path / "results")
    records, _ = load_all(tmp_path / "results")
    cells, _ = table.select(table.frame(records), board.info())
    rows = table.leaderboard(cells, 1).set_index("method")
    assert set(rows.index) == {"dense", "magnitude@finetune", "random/erk@init"}
    assert rows.loc[["magnitude@finetune", "random/erk@init"], "rank"].isna().all()
    assert (rows.loc[["magnitude@finetune", "random/erk@init"], "audit_failed"] == 1).all()


def test_9_a_diverged_training_is_flagged_and_stays_in_the_ranking(tmp_path):
    """0 times NaN is NaN: what is pruned must be exactly 0 all the same."""
    task = MLP.replace("recipe: {epochs: 3,", "recipe: {rate: 1.0e+12, epochs: 3,")
    board = tiny_board("magnitude@gmp", "random/erk@init", "rigl", task=task)
    result = run_inline(board, tmp_path)
    assert not result.failed
    for record in result.records.values():
        assert "training loss not finite" in record.data["flags"]
        assert record.data["collapsed"]
        assert record.audit_passed, record.audit_failures
