"""AP in whole cells: the same budget, nested masks, weights of the right sign that moved least since the start."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

import sparsebench.grid.activating as activating
from sparsebench.grid.plan import plan
from sparsebench.grid.state import initial_net
from sparsebench.grid.store import Store
from sparsebench.grid.watch import LossCurve
from sparsebench.masks import Masks
from sparsebench.phases import Prune, Rewind
from tests.grid.conftest import RESNET, run_inline, tiny_board

METHODS = (
    "magnitude@imp",
    "magnitude@imp+ap(q=0.1)",
    "magnitude@imp+ap(q=0.1,sign='positive')",
    "magnitude@imp(rewind=0.34)+ap(q=0.1)",
    "magnitude@lrr+ap(q=0.1)",
    "magnitude@finetune+ap(q=0.1)",
    "lamp@imp+ap(q=0.1,score='random')",
    "gradient@imp+ap(q=0.1)",
    "snip@init+ap(q=0.1)",
    "magnitude@gmp+ap(q=0.1)",
)
AP = [method for method in METHODS if "+ap" in method]
SPARSITIES = (0.5, 0.75)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run with every regime: its plan, store and records by (method, sparsity)."""
    store = tmp_path_factory.mktemp("store")
    board = tiny_board(*METHODS, sparsities=SPARSITIES)
    result = run_inline(board, store)
    assert not result.failed
    records = {(r.cell["method"], r.cell["sparsity"]): r for r in result.records.values()}
    return plan(board.cells), Store(store), records, {(c.method.name, c.sparsity): c for c in board.cells}


def weights(store, stage: str) -> dict[str, torch.Tensor]:
    return load_file(store.stage(stage) / "weights.safetensors")


def masks(store, stage: str | None) -> Masks | None:
    path = stage and store.stage(stage) / "masks.safetensors"
    return Masks.load(path) if path and path.exists() else None


def prunings(finished, method: str, sparsity: float = 0.75):
    """Each stage of a cell that pruned with AP: the stage, its parent, the masks before and after, what it reports."""
    whole, store, _, cells = finished
    for name in whole.chains[cells[method, sparsity].id]:
        stage = whole.stages[name]
        if any(isinstance(p, Prune) and p.ap for p in stage.phases):
            after = masks(store, name)
            before = masks(store, stage.parent) or Masks({n: torch.ones_like(m) for n, m in after.items()})
            yield stage, whole.stages[stage.parent], before, after, store.stage_report(name)["ap"]


@pytest.mark.parametrize("method", AP)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_the_budget_is_that_of_the_method_without_ap(finished, method, sparsity):
    record = finished[2][method, sparsity]
    assert record.audit_passed, record.audit_failures
    assert record.data["sparsity"]["kept"] == finished[2]["magnitude@imp", sparsity].data["sparsity"]["kept"]
    assert record.data["fingerprint"]["activation"].startswith("round(0.1 * alive)")


@pytest.mark.parametrize("method", [m for m in AP if "gmp" not in m])
def test_ap_removes_its_share_and_masks_nest(finished, method):
    found = list(prunings(finished, method))
    assert found
    for _, _, before, after, said in found:
        assert after.nested_in(before)
        assert said["alive"] == before.kept
        whole = "init" in method
        assert said["removed"] == said["asked"] == (before.kept - after.kept if whole else round(0.1 * before.kept))


@pytest.mark.parametrize(("sign", "wrong"), [("", 1), (",sign='positive'", -1)], ids=["negative", "positive"])
def test_what_goes_beyond_the_base_method_has_the_sign_asked_for(finished, sign, wrong):
    for _, parent, before, after, said in prunings(finished, f"magnitude@imp+ap(q=0.1{sign})"):
        trained = weights(finished[1], parent.id)
        gone = torch.cat([trained[n][before[n] & ~after[n]] for n in after])
        # Magnitude takes the smallest of either sign; AP takes larger ones too, and those of one sign alone.
        beyond = gone.abs() > gone[gone * wrong > 0].abs().max()
        assert beyond.sum() > said["removed"] / 2
        assert (gone[beyond] * wrong < 0).all()


def start_of(finished, method: str, parent) -> dict[str, torch.Tensor]:
    """What the parent's training began with, by its phases and not by the code under test."""
    store = finished[1]
    rewinds = [phase for phase in parent.phases if isinstance(phase, Rewind)]
    if rewinds and rewinds[0].to > 0:
        return weights(store, parent.rewind_point)
    if not rewinds and parent.parent:
        return weights(store, parent.parent)
    return dict(initial_net(parent.task, parent.seed, (1, 8, 8), 10).named_parameters())


@pytest.mark.parametrize(
    "method",
    [
        "magnitude@imp+ap(q=0.1)",
        "magnitude@imp(rewind=0.34)+ap(q=0.1)",
        "magnitude@lrr+ap(q=0.1)",
        "magnitude@finetune+ap(q=0.1)",
    ],
)
def test_movement_is_counted_from_the_start_of_the_training_before(finished, method):
    """The pruning done again by hand: magnitude to a little less, then the negative ones that moved least."""
    for stage, parent, before, after, said in prunings(finished, method):
        trained, start = weights(finished[1], parent.id), start_of(finished, method, parent)
        alive = torch.cat([trained[n].abs().masked_fill(~before[n], -1).flatten() for n in after])
        cut = alive.sort(descending=True).values[after.kept + said["removed"] - 1]
        left = Masks({n: (trained[n].abs() >= cut) & before[n] for n in after})
        assert left.kept == after.kept + said["removed"], stage.label
        moved = {n: (trained[n] - start[n]).abs() for n in after}
        candidates = torch.cat([moved[n][left[n] & (trained[n] < 0)] for n in after]).sort().values
        gone = torch.cat([moved[n][left[n] & ~after[n]] for n in after]).sort().values
        assert torch.equal(gone, candidates[: said["removed"]])


def test_gmp_counts_movement_from_the_update_before(tmp_path, monkeypatch):
    seen = []
    original = activating.activated

    def watched(ap, sparsity, alive, weights, start, base, **options):
        found = original(ap, sparsity, alive, weights, start, base, **options)
        seen.append(({n: w.detach().clone() for n, w in weights.items()}, dict(start), found))
        return found

    monkeypatch.setattr(activating, "activated", watched)
    board = tiny_board("magnitude@gmp+ap(q=0.1)")
    assert not run_inline(board, tmp_path).failed
    assert len(seen) > 3
    initial = dict(initial_net(board.cells[0].task, 0, (1, 8, 8), 10).named_parameters())
    assert all(torch.equal(w, initial[n]) for n, w in seen[0][1].items())
    for (before, _, found), (_, start, _) in pairwise(seen):
        assert all(torch.equal(start[n], before[n] * found.masks[n]) for n in start)
    assert all(found.removed == found.asked <= round(0.1 * found.alive) for *_, found in seen)
    assert all(found.removed > 0 for *_, found in seen[:3])


def test_gmp_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, finished):
    board = tiny_board("magnitude@gmp+ap(q=0.1)")
    original = LossCurve.on_train_epoch_end

    def dies(self, trainer, module):
        original(self, trainer, module)
        if trainer.current_epoch == 1 and "ActivatingPruner" in {type(c).__name__ for c in trainer.callbacks}:
            raise KeyboardInterrupt

    monkeypatch.setattr(LossCurve, "on_train_epoch_end", dies)
    with pytest.raises(KeyboardInterrupt):
        run_inline(board, tmp_path, checkpoint_seconds=0.0)
    assert list(tmp_path.rglob("checkpoint.ckpt"))
    monkeypatch.setattr(LossCurve, "on_train_epoch_end", original)
    again = run_inline(board, tmp_path)
    record = next(r for r in again.records.values() if r.cell["method"] != "dense")
    whole = finished[2][record.cell["method"], 0.75]
    assert record.data["metrics"] == whole.data["metrics"]
    assert record.data["curves"] == whole.data["curves"]
    assert whole.data["curves"] != finished[2]["magnitude@imp", 0.75].data["curves"]


@pytest.mark.parametrize("method", ["lap@imp+ap", "synflow@init+ap", "magnitude/erk@lrr+ap"])
def test_networks_with_batch_norm_and_other_criteria_pass_their_audit(method, tmp_path):
    result = run_inline(tiny_board(method, task=RESNET), tmp_path)
    assert not result.failed
    assert all(record.audit_passed for record in result.records.values())


def test_rewinding_afterwards_is_exact(finished):
    """After AP the survivors stand where the initial network put them (audit rule 6)."""
    verdict = next(v for v in finished[2]["magnitude@imp+ap(q=0.1)", 0.75].data["audit"] if v["rule"] == 6)
    assert verdict["passed"]
    assert "equal by digest" in verdict["detail"]
