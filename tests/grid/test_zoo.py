"""Methods that are more than masks under a training: whole cells, their records, their audit, and how it fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparsebench.errors import UsageError
from sparsebench.grid import perform, stages
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.load import load_cell
from sparsebench.grid.state import logits
from sparsebench.grid.store import Store
from sparsebench.masks import Masks
from sparsebench.methods import from_file
from sparsebench.metrics.flops import macs
from tests.grid.conftest import MLP, RESNET, run_inline, tiny_board

VIT = """  - base: digits-vit
    name: tiny-vit
    network_arguments: {dim: 16, depth: 1, heads: 2}
    recipe: {epochs: 2}"""


def cells(method: str, store, task: str = RESNET, sparsity: float = 0.5) -> dict:
    """The record of a method's only cell."""
    result = run_inline(tiny_board(method, sparsities=(sparsity,), task=task), store)
    assert not result.failed
    return next(r.data for r in result.records.values() if r.cell["method"] != "dense")


def failed_rules(record: dict) -> set[int]:
    return {rule["rule"] for rule in record["audit"] if not rule["passed"]}


@pytest.mark.parametrize("task", [MLP, RESNET, VIT], ids=["mlp", "resnet", "vit"])
@pytest.mark.parametrize(
    "method",
    [
        "l1@finetune",
        "taylor@lrr(rate=0.3)",
        "random_filter@imp(rate=0.3)",
        "small_dense",
        "small_dense(match='flops')",
        "magnitude/2:4@lrr(rate=0.5)",
        "magnitude/block1x4@imp(rate=0.3)",
        "magnitude@oneshot",
        "wanda@oneshot",
        "sparsegpt@finetune",
        "random/like:snip@init",
        "snip+invert",
    ],
)
def test_a_cell_of_every_kind_passes_its_audit(method, task, tmp_path):
    record = cells(method, tmp_path, task)
    assert not failed_rules(record), record["audit"]
    kept, prunable = record["sparsity"]["kept"], record["sparsity"]["prunable"]
    assert sum(layer["kept"] for layer in record["sparsity"]["layers"].values()) == kept
    assert record["sparsity"]["achieved"] == pytest.approx(1 - kept / prunable)
    if "2:4" in method:
        assert kept / prunable >= 0.5
    elif method.startswith(("l1", "taylor", "random_filter", "block", "magnitude/block")):
        assert 0.3 * prunable < kept <= 0.5 * prunable
    elif "flops" in method:
        assert record["flops"]["sparse"] <= 0.5 * record["flops"]["dense"]
    elif method == "small_dense":
        assert kept <= 0.5 * prunable
    else:
        assert kept == round(0.5 * prunable)
    if "small" not in method:
        assert record["cost"]["score_passes"] > 0
        assert record["cost"]["score_seconds"] > 0


def test_a_shrunk_network_is_counted_as_it_is(tmp_path):
    record = cells("l1@finetune", tmp_path)
    stored = load_cell(record, Store(tmp_path), Hardware())
    net = stored.loaded.net
    assert record["sparsity"]["parameters"] == sum(p.numel() for p in net.parameters())
    assert record["sparsity"]["total"] == sum(p.numel() for p in stored.whole.parameters())
    assert record["flops"]["sparse"] == macs(net, (1, 8, 8)).dense
    assert record["flops"]["dense"] == macs(stored.whole, (1, 8, 8)).dense
    assert [p.shape for p in net.parameters()] != [p.shape for p in stored.whole.parameters()]
    assert net.state_dict().keys() == stored.whole.state_dict().keys()
    # Three epochs of the dense network, one of the smaller one.
    images = 9 * 128
    expected = 6 * images * (3 * record["flops"]["dense"] + record["flops"]["sparse"])
    assert record["cost"]["train_flops"] == pytest.approx(expected)


def test_units_left_by_several_rounds_are_those_of_the_last(tmp_path):
    record = cells("l1@lrr(rate=0.3)", tmp_path)
    stored = load_cell(record, Store(tmp_path), Hardware())
    structure = stored.loaded.structure
    assert {n: tuple(m.shape) for n, m in structure.items()} == {
        n: tuple(p.shape) for n, p in stored.whole.named_parameters() if n in structure
    }
    net = dict(stored.loaded.net.named_parameters())
    assert all(int(mask.sum()) == net[name].numel() for name, mask in structure.items())


def test_one_shot_trains_nothing_and_estimates_batch_norm_anew(tmp_path, monkeypatch):
    record = cells("magnitude@oneshot", tmp_path)
    assert record["cost"]["epochs"] == 3
    seen = []
    original = perform.reestimate
    monkeypatch.setattr(perform, "reestimate", lambda net, batches: seen.append(original(net, batches)) or seen[-1])
    cells("magnitude@oneshot", tmp_path / "again")
    assert seen == [9], "batch norm layers of a ResNet-8"


def test_a_narrow_network_that_is_too_large_fails_rule_1(tmp_path, monkeypatch):
    original = perform.narrowed

    def wider(*args):
        found = original(*args)
        return replace(found, arguments={"width": found.arguments["width"] + 1})

    monkeypatch.setattr(perform, "narrowed", wider)
    assert failed_rules(cells("small_dense", tmp_path)) == {1}


def test_units_beyond_the_fewest_fail_rule_1(tmp_path, monkeypatch):
    original = perform.scored

    def too_many(state, phase, data):
        return original(state, replace(phase, sparsity=0.8), data)

    monkeypatch.setattr(perform, "scored", too_many)
    assert failed_rules(cells("l1@finetune", tmp_path)) == {1}


def test_a_pattern_that_is_broken_fails_rule_1(tmp_path, monkeypatch):
    original = perform.pruning

    def broken(net, *args, **options):
        result = original(net, *args, **options)
        masks = {n: m.clone() for n, m in result.masks.items()}
        flat = masks["fc1.weight"].view(-1)
        kept, gone = flat.nonzero()[0].clone(), (~flat).nonzero()[-1].clone()
        flat[kept], flat[gone] = False, True
        return type(result)(Masks(masks))

    monkeypatch.setattr(perform, "pruning", broken)
    assert failed_rules(cells("magnitude/2:4@finetune", tmp_path, MLP)) == {1}


def test_a_store_without_the_network_says_how_to_get_it(tmp_path):
    record = cells("l1@finetune", tmp_path / "here", MLP)
    with pytest.raises(UsageError, match=r"not in the store .*run it here first: sparsebench run"):
        load_cell(record, Store(tmp_path / "elsewhere"), Hardware())


def test_a_stored_network_predicts_as_it_did(tmp_path):
    record = cells("taylor@finetune", tmp_path)
    stored = load_cell(record, Store(tmp_path), Hardware())
    z, y = logits(stored.loaded.net, stored.data.test_dataloader())
    assert float((z.argmax(1) == y).double().mean()) == pytest.approx(record["metrics"]["top1"])
    assert torch.isfinite(z).all()


SOLVER = """
from sparsebench import criterion, solver

METHODS = ["doubling@oneshot"]


@criterion(needs="model", examples=64, moves_weights=True)
def doubling(model, params, batches, loss):
    '''The absolute weight.'''
    return {name: weight.detach().abs() for name, weight in params.items()}


@solver(name="doubling")
def solve(model, params, batches, loss, budget):
    masks = budget.select(doubling(model, params, batches, loss))
    return masks, {name: 2 * weight.detach() * masks[name] for name, weight in params.items()}
"""


def test_a_users_solver_changes_the_weights_it_keeps(tmp_path):
    (tmp_path / "mine.py").write_text(SOLVER)
    (method,) = from_file(str(tmp_path / "mine.py"))
    result = run_inline(tiny_board(method, sparsities=(0.5,), task=MLP), tmp_path / "store")
    dense, record = (next(r.data for r in result.records.values() if r.cell["method"] == m) for m in ("dense", method))
    assert not failed_rules(record), record["audit"]
    before, after = (load_cell(r, Store(tmp_path / "store"), Hardware()).loaded for r in (dense, record))
    weights = dict(before.net.named_parameters())
    for name, mask in after.masks.items():
        assert torch.equal(after.net.get_parameter(name), 2 * weights[name] * mask)
    assert record["fingerprint"]["weights_kept"] == "changed by the criterion"


def test_shuffled_masks_keep_the_weights_from_before_the_pruning(tmp_path):
    """At initialisation, one shot: what is kept is not zero, and has its first value."""
    result = run_inline(tiny_board("magnitude@oneshot+shuffle", sparsities=(0.8,), task=MLP), tmp_path)
    dense, record = (
        next(r.data for r in result.records.values() if (r.cell["method"] == "dense") == wanted) for wanted in (1, 0)
    )
    assert not failed_rules(record), record["audit"]
    before, after = (load_cell(r, Store(tmp_path), Hardware()).loaded for r in (dense, record))
    for name, mask in after.masks.items():
        assert torch.equal(after.net.get_parameter(name), before.net.get_parameter(name) * mask)


def test_ranks_that_removed_other_units_fail_rule_4(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "gather", lambda value: ["a", "b"] if isinstance(value, str) else [value])
    assert failed_rules(cells("l1@finetune", tmp_path)) == {4}


@pytest.mark.parametrize("method", ["wanda@oneshot", "woodfisher@finetune", "chita@finetune", "snip@finetune"])
def test_a_diverged_network_is_flagged_and_not_lost(method, tmp_path):
    task = MLP.replace("epochs: 3", "epochs: 3, rate: 1.0e+30, warmup: 0.0")
    record = cells(method, tmp_path, task)
    assert record["collapsed"]
    assert {"scores not finite", "training loss not finite"} <= set(record["flags"])
    assert record["sparsity"]["kept"] == round(0.5 * record["sparsity"]["prunable"])
